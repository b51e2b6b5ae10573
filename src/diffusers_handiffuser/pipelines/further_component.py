"""Constructors of pipelines with one component more than [`HandConditioningMixin`] lists."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from .hand_conditioning import HandConditioningMixin

_Class = TypeVar("_Class", bound=type)


def with_component(name: str, annotation: Any) -> Callable[[_Class], _Class]:
    """Decorates a pipeline whose constructor takes one more component, named before the scheduler as in diffusers."""

    def decorate(pipeline_class: _Class) -> _Class:
        signature = inspect.signature(HandConditioningMixin.__init__)
        parameters = list(signature.parameters.values())
        place = list(signature.parameters).index("scheduler")
        component = inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation)
        signature = signature.replace(parameters=[*parameters[:place], component, *parameters[place:]])

        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  # becomes the method
            HandConditioningMixin.__init__(**signature.bind_partial(self, *args, **kwargs).arguments)

        __init__.__signature__ = signature  # type: ignore[attr-defined]
        __init__.__annotations__ = {**HandConditioningMixin.__init__.__annotations__, name: annotation}
        pipeline_class.__init__ = __init__  # type: ignore[misc]
        return pipeline_class

    return decorate
