"""Phrases for the side of a hand, for what the camera sees of it, and for where it points."""

import random
from collections.abc import Collection

from .wording import entries

# Behind a deed, "makes a fist ...".
SIDE_PHRASES = entries(
    "with {his} # hand|with {his} # hand|with {his} # hand|with {his} # hand|with the # hand|with the # hand|"
    "with {his} #|with {his} #|using {his} # hand|using the # hand|on {his} # hand|on the # hand|, # hand|(# hand)|"
    ", {his} # hand raised|, # hand up|, # hand in the air|, {his} # hand in view|, {his} # hand up high|"
    ", {his} # arm bent upward|with only the # hand|with just {his} # hand|, # hand lifted|, # hand held up|"
    ", only the # hand raised|, the # hand in front of {him}|with {his} free # hand"
)
# Behind a deed that ends with a finger, "holds up two fingers ...".
SIDE_OF_FINGER_PHRASES = entries("of {his} # hand|of {his} # hand|on {his} # hand|of the # hand|on the # hand")
# In front of a clause.
FRONTED_SIDES = entries(
    "with {his} # hand|with the # hand|using {his} # hand|with {his} # hand raised|# hand up|"
    "with {his} # hand in the air|on {his} # hand|# hand raised|with only the # hand|with just {his} # hand|"
    "{his} # hand in the air|with {his} free # hand"
)
# As a tag of a prompt.
SIDE_TAGS = entries(
    "# hand|# hand|# hand|the # hand|# hand raised|# hand only|{his} # hand|a # hand|# hand up|# hand visible|"
    "single # hand|only the # hand|# hand in the air|just a # hand"
)
BOTH_PHRASES = entries(
    "with both hands|with both hands|with both {his} hands|on both hands|using both hands|with each hand|"
    "with {his} two hands|with left and right hand alike|, both hands up|, both hands raised"
)
VIEWS = {
    "palm": entries(
        "palm out|palm forward|palm outward|palm facing the camera|palm toward us|palm to the viewer|"
        "palm toward the lens|palm visible|palm turned to the camera|palm facing us|palm facing the viewer|"
        "palm facing forward|the inside of the hand facing us|the palm side in view|the palm in full view|"
        "showing the palm|palm side to the camera|seen from the palm side|the inner side of the hand to the camera|"
        "palm side out|palm open to us|palm to us|the palm facing out|the palm turned toward us|the palm to the front|"
        "with a view of the palm|the lines of the palm visible|palm presented to the lens|the palmar side in view|"
        "so that we see the palm|with the inside of the hand on show"
    ),
    "back": entries(
        "back of the hand to the camera|back of the hand facing us|back of the hand toward the viewer|"
        "the back of the hand showing|knuckles toward us|knuckles to the camera|palm turned inward|palm facing away|"
        "palm away from the camera|palm facing {himself}|palm toward {himself}|hand seen from behind|"
        "hand seen from the back|the hand viewed from the back|showing the back of the hand|"
        "the back of the hand in view|knuckles facing the lens|dorsal side to the camera|"
        "back side of the hand visible|with the dorsal side toward us|the palm hidden from view|"
        "palm turned away from us|"
        "the outer side of the hand to the camera|the hand from behind|so that we see the back of the hand|"
        "the knuckle side out|back of the hand on show|with the back of the hand up front|palm not visible|"
        "the palm toward {his} own face"
    ),
    "side": entries(
        "hand in profile|hand seen from the side|edge of the hand to the camera|"
        "the hand in side view|side view of the hand|hand shown from the side|hand edge-on|"
        "the edge of the hand facing us|hand viewed from the side|"
        "hand at right angles to the camera|the hand in profile view|narrow side of the hand to the camera|"
        "the hand turned edge-on|the hand seen edge-on|the hand from the side|with the hand in profile|"
        "so that we see the edge of the hand|a lateral view of the hand"
    ),
}
# When the hand is the subject of the sentence.
HAND_VIEWS = {
    "palm": entries(
        "palm out|palm facing the camera|palm forward|palm toward us|with the palm showing|seen from the palm side|"
        "palm to the viewer|from the palm side|palm in view|with the inside facing us|palm side up front|"
        "palm turned to the lens|palm side out|palm open to us|showing its inside|showing its palm|"
        "we look at its inside|"
        "we look into the palm|palmar view|with the lines of the palm visible|its inner side to the camera"
    ),
    "back": entries(
        "from behind|seen from behind|seen from the back|knuckles toward us|back of the hand to the camera|"
        "palm facing away|with the back of the hand showing|from the back|knuckles to the viewer|"
        "palm turned away from us|dorsal view|back of the hand facing the lens|"
        "showing its back|dorsal side up front|dorsal side to us|we see only its back|knuckles up front|palm hidden|"
        "with the palm hidden|its outer side to the camera|back view|knuckle side out"
    ),
    "side": entries(
        "in profile|from the side|seen from the side|in side view|side view|edge to the camera|edge-on|"
        "viewed from the side|in profile view|edge of the hand to us|"
        "seen edge-on|lateral view|we see its edge|turned edge-on|its narrow side to the camera|profile view|"
        "shown in profile"
    ),
}
BOTH_VIEWS = {
    "palm": entries(
        "both palms out|palms forward|palms facing the camera|both palms toward us|palms outward|"
        "with the palms showing|palms to the viewer|both palms visible|palms turned to the camera|"
        "palms out|palms toward the lens|showing both palms|palms open to us"
    ),
    "back": entries(
        "backs of the hands to the camera|knuckles toward us|palms facing away|both hands seen from behind|"
        "palms turned inward|with the backs of the hands showing|both hands seen from the back|"
        "showing the backs of both hands|dorsal sides to us|palms hidden from view"
    ),
    "side": entries(
        "both hands in profile|hands seen from the side|the hands in side view|both hands edge-on|"
        "both hands from the side|hands in profile"
    ),
}
# Where a hand points that stands for itself, behind what it does.
TURNS = {
    "down": entries(
        "pointing down|pointing down|pointing downward|pointing straight down|hanging down|, hand pointing down|"
        ", hand hanging down|, the hand upside down|turned upside down|, upside down|pointed down|aimed downward|"
        "directed downward|pointing at the floor|pointing at the ground|pointed at the earth|, hand turned downward|"
        "lowered and pointing down|, flipped upside down|hanging toward the floor|dangling toward the ground|"
        ", inverted, toward the floor|reaching for the floor|, the wrong way up, toward the floor|"
        ", the hand directed at the ground"
    ),
    "sideways": entries(
        "pointing sideways|pointing sideways|pointing to the side|, hand pointing sideways|, hand held horizontally|"
        "held sideways|held level|, level with the ground|pointed sideways|aimed sideways|, hand horizontal|"
        ", the hand lying sideways|turned on its side|, hand stretched out sideways|"
        "directed to one side|pointing off to one side|, parallel to the ground|, forearm and hand level|"
        "turned ninety degrees to one side|, the hand parallel to the floor|, in a horizontal position|"
        "tipped sideways|"
        "rotated sideways"
    ),
    "up": entries(
        "pointing up|pointing up|pointing upward|held upright|pointing straight up|, hand upright|, hand pointing up|"
        "pointed upward|, vertical|pointing at the ceiling|, pointing skyward|pointing at the sky"
    ),
}
# The same of fingers that are extended.
FINGER_TURNS = {
    "down": entries(
        "with the fingers down|with fingers pointing down|, fingers pointing downward|"
        ", fingers toward the floor|, fingertips toward the ground|"
        "with the fingertips pointing down|, fingers aimed at the floor|with the fingers hanging down|"
        ", fingers straight down|, fingers toward the ground|, fingertips at the bottom, pointing down|"
        "with the fingers reaching for the floor|, fingers dangling toward the ground"
    ),
    "sideways": entries(
        "with the fingers sideways|with fingers pointing sideways|, fingers pointing to the side|, fingers horizontal|"
        ", fingers to one side|, fingertips to the side|, fingertips pointing sideways|with level fingers|"
        ", fingers parallel to the floor|with the fingers stretched sideways|, fingers level with the floor|"
        ", fingers in a horizontal line|with horizontal fingers|, fingers turned to one side"
    ),
    "up": entries(
        "with the fingers up|, fingers up|with fingers pointing up|, fingertips up|, fingers straight up|"
        ", fingers pointing at the ceiling|, fingers upward|, fingertips toward the sky"
    ),
}
FRAMINGS = {
    "close-up": entries("close-up|closeup|close up|extreme close-up|macro shot|tight crop|detail shot|close shot"),
    "waist-up": entries(
        "waist-up|waist up|medium shot|half-length portrait|upper body|waist-up shot|shown from the waist up|"
        "half-body shot|upper body shot|mid shot"
    ),
}


def turn_phrase(turn: str, fingers: Collection[str], of_fingers: bool, rng: random.Random) -> str:
    """A phrase for where a hand points, or its extended fingers.

    Args:
        turn (`str`): `"up"`, `"down"` or `"sideways"`.
        fingers (`Collection[str]`): the extended fingers without the thumb.
        of_fingers (`bool`): whether it is about the fingers, if there are any, rather than the hand.
        rng (`random.Random`): chooses the phrase.
    """
    phrase = rng.choice((FINGER_TURNS if fingers and of_fingers else TURNS)[turn])
    if len(fingers) == 1:
        phrase = phrase.replace("fingers", "finger").replace("fingertips", "fingertip")
    return phrase
