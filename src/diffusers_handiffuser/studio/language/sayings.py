"""What people say while they make a gesture, as data."""

from .wording import entries

SAYINGS: dict[str, tuple[str, ...]] = {
    "open_hand": entries("bye-bye|hello there|gimme five|see you soon|five, please|hi, everybody"),
    "flat_hand": entries("stop|halt|not one step further|wait, wait|no, thank you|I swear|stay"),
    "fist": entries("yes, we won|never again|power to the people|you will pay|rock beats scissors|we fight on"),
    "pointing": entries("just one|one moment|look up there|first rule|one more, please|number one"),
    "peace": entries("peace, man|two, please|victory|love and peace|scissors|say cheese"),
    "two_together": entries("bless you all|so long, partner|at your service|shadow clone technique|so long, captain"),
    "three_fingers": entries("three, please|from downtown|scout's honor|third place|I volunteer|three of them"),
    "four_fingers": entries("four, please|table for four|fourth quarter|four more|I am four"),
    "thumbs_up": entries("great job|well done|all good|count me in|I like it|nice one|good game, well played"),
    "thumbs_down": entries("boring|bad idea|I hate it|zero stars|no way|terrible"),
    "ok": entries("perfect|delicious|A-OK|perfetto|everything is fine|no problem"),
    "pinch": entries("just a tiny bit|this small|a pinch of salt|this close|not even an inch|saranghae"),
    "horns": entries("rock on|heavy metal forever|let's rock|hook 'em|long live metal"),
    "l_sign": entries("loser|L is for loser|action|L as in lemon|zwei, bitte"),
    "call_me": entries("call me|hang loose|aloha|give me a ring|mahalo, brah|surf's up"),
    "love_you": entries("I love you|thwip|your friendly neighborhood hero|love you all|I love you, mom"),
    "finger_gun": entries("bang bang|pew pew|stick 'em up|gotcha|the name is Bond|hey, you"),
    "thumb_and_two": entries("drei, bitte|three glasses|eins, zwei, drei|three the German way|trois, please"),
    "pinky_up": entries("pinky promise|pinky swear|I promise|more tea, darling|how very posh|best friends forever"),
    "crossed_fingers": entries("wish me luck|fingers crossed|here's hoping|let it be true|good luck tomorrow"),
    "vulcan": entries("live long and prosper|fascinating|peace and long life|most logical|beam me up"),
    "hook": entries("come here|over here, my dear|psst, come closer|nine, the Chinese way|come to me"),
    "claw": entries("rawr|grrr|I'm gonna get you|brains|hiss|beware of the monster"),
    "relaxed": entries("I'm so tired|let it all go|no stress|and relax|just chill"),
    "c_shape": entries("cheers|this thick|one beer, this big|C as in cat|hold my glass"),
    "cupped": entries("spare some change|a coin, please|trick or treat|water, please|any crumbs for me"),
    "tiger_paw": entries("meow|nyan|purr|leopard style|good kitty"),
    "purse": entries("ma che vuoi|mamma mia|what do you want|capisce|wait a minute, habibi|bellissimo"),
    "salute_bent": entries("bend at the knuckles|like a little roof|hold this stretch|a shelf, you see|bent B"),
}
"""Words in quotation marks by the name of the gesture."""
SAYING_VERBS = entries(
    "say|say|say|shout|whisper|call|mumble|explain|laugh|joke|announce|murmur|reply|yell|declare|sigh"
)
QUOTES = (("'", "'"), ('"', '"'), ("\u201c", "\u201d"), ("", ""))
