"""What CI runs, one session at a time: `nox -s lint`, `nox -s tests -- tests/hands`, `nox -l`."""

import glob

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format, and which module may import which."""
    install(session, "newest", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Type hints."""
    install(session, "newest")
    session.run("mypy")
    # Beside a stub, mypy checks a module only if it is named.
    session.run("mypy", *glob.glob("src/diffusers_handiffuser/pipelines/pipeline_handiffuser*.py"))


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, with the newest libraries."""
    install(session, "newest")
    session.run("pytest", "-n", "auto", *session.posargs)


@nox.session
def oldest(session: nox.Session) -> None:
    """The fast tests, with the oldest libraries."""
    install(session, "oldest")
    session.run("pytest", "-n", "auto", "-m", "not slow", *session.posargs)


@nox.session
def middle(session: nox.Session) -> None:
    """The fast tests, with an old diffusers and newer libraries beside it."""
    install(session, "middle")
    session.run("pytest", "-n", "auto", "-m", "not slow", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation site, with broken links as errors."""
    install(session, "newest", "docs")
    session.run("mkdocs", "build", "--strict", *session.posargs)


def install(session: nox.Session, libraries: str, extra: str = "test") -> None:
    """The package and one of its extras, in one of the three sets of libraries.

    All sets name the same torch, of which pip prefers a CPU build if a configured index or folder has one.
    """
    session.install("-c", f"requirements/{libraries}.txt", f".[{extra}]")
