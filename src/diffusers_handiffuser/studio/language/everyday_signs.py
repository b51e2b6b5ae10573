"""Words for the signs that everyone makes: counting, waving, pointing, thumbs, OK, as data."""

from .wording import Wording, wording

EVERYDAY_SIGNS: dict[str, Wording] = {
    "open_hand": wording(
        "give/offer>a high five|give/offer>a friendly wave|give/offer>a little wave|give/offer>a goodbye wave|"
        "hold up/raise>a wide-open {hand}|show/hold up>an outspread {hand}|show/make>a splayed {hand}|"
        "show/make>a number five|show/make>a five with the fingers spread|do/make>a jazz hand",
        "~wave|~wave hello|~wave goodbye|~say hello with {his} {hand}|~wave at the camera|~wave to the crowd!|"
        "~wave to a friend|~wave hi|~greet us with a wave|~hold up all five fingers|~show five fingers|"
        "~hold up 5 fingers|~spread {his} fingers wide|~open {his} {hand} wide|~raise an open {hand}|"
        "~ask for a high five|~hold up {his} {hand} with the fingers spread|"
        "~stretch out all the fingers of {his} {hand}|~reach up for a high five|~count to five on {his} fingers|"
        "~say hi with a wave|~splay the fingers of {his} {hand}|~wave at somebody off camera",
        "all five fingers spread wide|every finger stretched apart|the fingers fanned out|"
        "the fingers splayed like a starfish|five fingers up|all the fingers stretched out and apart",
        "a child at a car window: ~wave goodbye to the grandparents!|"
        "a passenger on a departing ship: ~wave to the shore!|a basketball player: ~go for a high five|"
        "a queen in a carriage: ~wave at the people in the street!|a neighbor: ~wave hello over the fence!|"
        "a lifeguard: ~wave at the swimmers!",
        "~wave with both hands|~hold up both hands in surrender|~shrug with both hands open|"
        "~reach out with both hands|~do jazz hands|~hold up all ten fingers|"
        "~put both hands up with the fingers spread|~offer a double high five|~throw up both hands in surprise|"
        "~press both spread hands against a window",
    ),
    "flat_hand": wording(
        "make/give>a stop gesture|give/make>a halt signal|hold up/show>a flat {hand}|hold up/raise>a flat palm|"
        "give>a flat-handed salute|do/make>a karate chop|show/make>the paper of rock, paper, scissors|"
        "hold up/make>a talk-to-the-hand gesture|make/give>a no entry signal|"
        "show/make>a straight {hand} with closed fingers",
        "~signal stop|~salute|~hold out {his} {hand} for a handshake|~gesture for us to stop|"
        "~tell the car to stop with a raised {hand}|~raise {his} {hand} to swear an oath|"
        "~take an oath with a raised {hand}|~hold {his} {hand} up like a stop sign|~hold up a flat {hand}|"
        "~salute like a soldier|~show paper in rock paper scissors|"
        "~press the straight fingers of {his} {hand} together|~hold {his} {hand} flat with the fingers closed|"
        "~swear to tell the truth in court!|~forbid us to come closer|~say no more with a raised {hand}|"
        "~block the camera with a flat {hand}|~pledge allegiance with a raised {hand}|~halt the traffic",
        "the fingers straight and pressed together|all fingers together, flat as a board|"
        "a flat palm and no gap between the fingers|the hand flat like a stop sign|fingers closed and straight",
        "a policeman: ~signal the cars to stop!|a traffic cop: ~hold back the traffic!|"
        "a witness in court: ~take the oath!|a referee: ~show stop|"
        "a crossing guard: ~stop the cars for the children!|a bouncer: ~refuse entry at a club door!|"
        "a new president: ~swear the oath of office!|a soldier: ~give a salute|"
        "a karate master: ~get ready to chop a board",
        "~push against an invisible wall with both hands|~hold up both flat hands to say stop|"
        "~raise both hands in prayer|~clap {his} hands|~applaud with both hands|~mime a glass wall with both hands|"
        "~do karate chops with both hands|~refuse with both flat hands up|~pray with both hands",
    ),
    "fist": wording(
        "make/show/raise>a fist|make/show>a clenched fist|raise/show/hold up>a tight fist|give/offer>a fist bump|"
        "raise>a fist in protest|show/make>the rock of rock, paper, scissors|give/raise>a power salute|"
        "do>a fist pump|raise/make>a fist of solidarity|make>a hard fist",
        "~clench {his} {hand}|~ball {his} {hand} into a fist|~shake {his} fist|~shake {his} fist in anger|"
        "~raise {his} fist in solidarity|~pump {his} fist|~bump fists with the camera|~knock on an invisible door|"
        "~close {his} {hand} tightly|~squeeze {his} {hand} shut|~show rock in rock paper scissors|"
        "~raise {his} fist for justice|~threaten us with a fist|~hide a coin in a closed {hand}|"
        "~close all the fingers of {his} {hand}|~go for a fist bump|~punch the air",
        "all the fingers clenched|the knuckles clenched tight|the fingers curled into a ball|"
        "the hand closed into a fist|fingers and thumb shut tight",
        "a protester: ~raise a fist at a march!|a boxer: ~show a bare fist|"
        "an angry farmer: ~shake a fist at the crows!|a striker: ~celebrate a goal with a fist in the air!|"
        "a civil rights activist: ~raise a fist on the steps of the court!|"
        "a tennis champion: ~clench a fist after match point!",
        "~raise both fists in triumph|~put up both fists like a boxer|~celebrate with two clenched fists|"
        "~shake both fists at the sky|~get both fists ready for a fight|~clench both hands",
    ),
    "pointing": wording(
        "make/show/hold up>a number one|raise/hold up>a pointing finger|show/hold up>a raised index finger|"
        "raise/hold up>one finger|make/do>a pointing gesture|raise/wag>a warning finger|raise/hold up>a forefinger|"
        "show/make>a we're-number-one sign|raise/hold up>a lecturing finger|show/hold up>one raised finger",
        "~point up|~point up at the sky|~point to the ceiling|~point at something above us|~point upward|"
        "~point at the stars|~hold up one finger|~show one finger|~hold up 1 finger|~raise {his} index finger|"
        "~raise a finger to make a point|~ask for one more minute|~wag {his} finger|~scold us with a raised finger|"
        "~lift {his} index finger to ask for silence|~order one more coffee!|~count to one on {his} fingers|"
        "~stick {his} forefinger up|~test the wind with a finger|~point to a bird overhead|"
        "~say wait a second with one finger",
        "the index finger pointing up|one finger raised|a single finger up|"
        "the forefinger extended and the other fingers folded|only the pointer finger up, like a number one",
        "a teacher: ~make a point with a raised finger|a fan in the stands: ~show that {his} team is number one!|"
        "a tour guide: ~point up at the dome!|an inventor: ~have an idea, finger in the air|"
        "a librarian: ~ask for silence with a finger|a sprinter: ~point to the sky after the win!|"
        "a mother: ~warn the kids with one finger",
        "~point up with both index fingers|~raise both index fingers|~point at the sky with both hands|"
        "~hold up one finger of each hand",
    ),
    "peace": wording(
        "flash/make/show/throw/give>a peace sign|flash/make/give>a V for victory|flash/make/show>a V sign|"
        "flash/show>a victory sign|make/do>bunny ears|show/make>the scissors of rock, paper, scissors|"
        "throw/chuck>a deuce|make/flash>a V|flash/do>a cute V pose|make/show>a number two|hold up/show>a two|"
        "give>a hippie peace salute|throw/toss>a peace hand sign|hold up/flash>two fingers in a V",
        "~flash a V for victory|~hold up two fingers|~show two fingers|~hold up 2 fingers|"
        "~make a V with two fingers|~throw up a peace sign|~chuck up the deuces|~give somebody bunny ears|"
        "~wish the world peace with two fingers|~order two beers!|~spread {his} index and middle finger into a V|"
        "~pose for a selfie with a V|~show scissors in rock paper scissors|~sign peace and love|"
        "~say peace out with two fingers|~count to two on {his} fingers|~make a V like Churchill|"
        "~greet the fans with a V sign|~do a peace out",
        "two fingers up in a V|index and middle finger spread in a V|two fingers raised in a V|"
        "two spread fingers like scissors|two fingers up for peace|the first two fingers apart like rabbit ears",
        "a hippie: ~wish everyone peace|a tourist in Tokyo: ~pose with a V for the photo!|"
        "a winning candidate: ~make the V of victory|a wartime prime minister: ~flash the victory V|"
        "a schoolgirl: ~do a kawaii V pose|a prankster: ~make bunny ears behind a friend's head!|"
        "a teen in a photo booth: ~throw a V!|a man at the bar: ~ask for two pints!",
        "~make air quotes|~put a word in air quotes|~flash a double peace sign|~throw up two peace signs|"
        "~make a V for victory with both hands|~show the V with both hands like Nixon|~do quotation marks in the air",
    ),
    "two_together": wording(
        "give/do>a two-finger salute|give/make>a saint's blessing|make/show>a ninja hand seal|"
        "hold up/raise>two fingers pressed together|show/hold up>two joined fingers|give/make>a two-fingered blessing|"
        "hold up/show>two closed fingers side by side|give/throw>a cowboy's two-finger greeting|"
        "give>a casual salute with two fingers|hold up/raise>two fingers glued together",
        "~hold {his} index and middle finger together|~press two fingers together|~raise two fingers held together|"
        "~bless the people with two fingers|~salute with two fingers|~keep {his} first two fingers side by side|"
        "~stick up two fingers without a gap|~make a blessing with two straight fingers|"
        "~hold up two fingers, tight together|~tip an invisible hat with two fingers|"
        "~cast a ninja spell with two fingers",
        "two fingers up and close together|index and middle finger pressed together|"
        "two straight fingers side by side|two fingers joined with no gap|the first two fingers raised as one|"
        "index and middle together, the others folded",
        "a saint in an icon: ~bless the viewer|a pope: ~bless the crowd from a balcony!|"
        "a ninja: ~focus with a two-finger seal|a pilot: ~give a quick two-finger salute from the cockpit!|"
        "a cowboy: ~say howdy with two fingers|a priest: ~give the blessing at the altar!",
        "~hold up two joined fingers on each hand|~bless us with two fingers of each hand|"
        "~salute with two fingers of both hands",
    ),
    "three_fingers": wording(
        "make/show/hold up>a number three|make/hold up>a three|hold up/show>three fingers|"
        "give/raise>a Hunger Games salute|give/raise>a three-finger salute|make/show>a W with the fingers|"
        "show/make>the letter W in sign language|show/hold up>three raised fingers|give/hold up>a three-point sign|"
        "give/hold up>the three fingers of the scout promise",
        "~hold up three fingers|~show three fingers|~hold up 3 fingers|~show the number three with {his} fingers|"
        "~raise three fingers|~count to three on {his} fingers|~stick up three fingers|~put up three fingers|"
        "~order three tickets|~hold up {his} index, middle and ring fingers|~make a W with three fingers|"
        "~say that it costs three|~pin {his} pinky down with the thumb and ~hold up the rest|~sign the letter W",
        "three fingers up|three fingers raised|three spread fingers up like a W|"
        "index, middle and ring finger up, thumb on the pinky|three long fingers standing|three fingers in the air",
        "a toddler: ~show that {his} age is three|a basketball referee: ~signal a three-pointer!|"
        "a girl from district twelve: ~give the rebels' salute|a waiter: ~ask if it is a table for three!|"
        "a coach: ~call play number three!|a scout: ~make the promise with three fingers|"
        "a bronze medallist: ~show third place",
        "~hold up three fingers on each hand|~count to six with three fingers of each hand|"
        "~show three fingers with both hands",
    ),
    "four_fingers": wording(
        "make/show/hold up>a number four|make/hold up>a four|hold up/show>four fingers|"
        "show/hold up>four raised fingers|raise/hold up>all four fingers without the thumb|"
        "give/hold up>a fourth-quarter sign|make/show>a four with the thumb tucked in|"
        "give/hold up>a four-finger sign|hold up/show>four long fingers|"
        "hold up/raise>a {hand} with the thumb folded in",
        "~hold up four fingers|~show four fingers|~hold up 4 fingers|~show the number four with {his} fingers|"
        "~raise four fingers|~count to four on {his} fingers|~put up four fingers|"
        "~fold {his} thumb across the palm and ~hold up the rest|~tuck in {his} thumb and ~raise the other fingers|"
        "~order four scoops of ice cream|~say four with {his} fingers|~hide {his} thumb and ~show the rest|"
        "~stick up four fingers|~ask for four of them",
        "four fingers up|four fingers raised and the thumb tucked in|every finger up but the thumb|"
        "the thumb folded across the palm, four fingers standing|four fingers in the air|"
        "all four long fingers up, thumb hidden",
        "a football player: ~hold up four fingers for the fourth quarter!|"
        "a small boy: ~show that he is four years old|a batsman's umpire: ~signal a boundary of four|"
        "a hostess: ~seat a party of four!|a baker: ~count four loaves!|a relay runner: ~show lane four!",
        "~hold up four fingers on each hand|~show eight with four fingers of each hand|"
        "~raise four fingers on both hands",
    ),
    "thumbs_up": wording(
        "give/show/make>a thumbs up|give/show>a thumbs-up|give/show>a like|give/show>an enthusiastic thumb up|"
        "make/show>a thumbs up sign|give/show>an approving thumb|give/show>a big thumbs up|"
        "show/make>the like button gesture|give/raise>a thumb in approval|give>a hearty thumbs up",
        "~give us the thumbs up|~stick up {his} thumb|~stick {his} thumb up|~put {his} thumb up|"
        "~approve with a raised thumb|~signal all good with {his} thumb|~raise {his} thumb|"
        "~thumb a lift by the road!|~hitchhike with a raised thumb!|~say good job with a thumb|"
        "~give the go-ahead with a thumb|~show that everything went well with a thumb in the air|~like it, thumb up|"
        "~point {his} thumb at the sky|~point {his} thumb upward|~vote yes with {his} thumb|"
        "~hold {his} thumb up high",
        "the thumb up|the thumb pointing up|thumb raised|the thumb sticking straight up|thumb to the sky|"
        "the thumb pointing at the ceiling|an upward thumb and a closed fist",
        "a pilot: ~signal ready for takeoff with a thumb up!|a hitchhiker: ~stick out a thumb by the highway!|"
        "an emperor: ~spare the gladiator with a raised thumb|a happy customer: ~give the shop a like|"
        "a patient after surgery: ~show that all is well, thumb up!|a film critic: ~recommend the movie, thumb up|"
        "a stage manager: ~give the all clear with a thumb!",
        "~give two thumbs up|~give a double thumbs up|~put both thumbs up|~show both thumbs up|"
        "~point both thumbs upward|~cheer with both thumbs in the air",
    ),
    "thumbs_down": wording(
        "give/show/make>a thumbs down|give/show>a thumbs-down|give/show>a dislike|make/show>a thumbs down sign|"
        "give/show>a disapproving thumb down|give/show>a harsh thumbs down|show/make>the dislike button gesture|"
        "give/show>a downward thumb|give/show>a big thumbs down|give>a bored thumbs down",
        "~give us the thumbs down|~turn {his} thumb down|~point {his} thumb at the floor|"
        "~point {his} thumb downward|~point {his} thumb at the ground|~disapprove with a lowered thumb|"
        "~vote no with {his} thumb down|~reject it, thumb down|~show dislike with a thumb|~boo with a thumb down|"
        "~say bad idea with {his} thumb down|~hold {his} thumb down|~signal a failure with a downturned thumb|"
        "~turn the thumb toward the floor",
        "the thumb down|the thumb pointing down|thumb pointing at the floor|the thumb turned downward|"
        "thumb toward the ground|an upside-down thumb and a closed fist|the thumb aimed at the earth",
        "an emperor: ~condemn the gladiator with a lowered thumb|an unhappy customer: ~dislike the soup, thumb down|"
        "a film critic: ~pan the movie, thumb down|a judge on a talent show: ~reject the singer, thumb down!|"
        "a voter: ~reject the plan, thumb down|a grumpy reviewer: ~give no stars, just a lowered thumb",
        "~give two thumbs down|~give a double thumbs down|~turn both thumbs down|~point both thumbs at the floor|"
        "~show both thumbs down|~boo with both thumbs down",
    ),
    "ok": wording(
        "make/give/show/flash>an OK sign|give/show>an okay|make/show>the okay symbol|give/make>an A-OK|"
        "give/make>a diver's okay|make/form>a ring with thumb and index finger|"
        "make/form>an O with thumb and forefinger|give/make>a perfect sign|hold/make>a meditation mudra|"
        "make/give>an all-is-well circle",
        "~signal OK|~signal okay|~signal that the food is perfect|~say okay with {his} fingers|"
        "~make a circle with {his} thumb and index finger|~join thumb and index finger in a circle|"
        "~touch the tip of {his} thumb with {his} index finger, the others up|"
        "~show that everything is fine with a ring of the fingers|~tell us it is perfect with a finger circle|"
        "~let us know it is A-OK|~hold a yoga mudra|~compliment the cook with a ring of two fingers|"
        "~sign that all is well under water!|~close thumb and forefinger into a ring",
        "thumb and index finger in a circle|a ring of thumb and forefinger, the other three fingers up|"
        "the tips of thumb and index touching, three fingers fanned|thumb and index making an O|"
        "a circle of two fingers and the other three raised",
        "a scuba diver: ~signal that all is well!|a chef: ~approve the soup with a finger ring|"
        "a sommelier: ~find the wine perfect|a yogi: ~meditate with a finger mudra!|"
        "a waiter: ~confirm the order with an okay!|a sound engineer: ~give the okay from the booth!|"
        "a Buddha statue come to life: ~hold the teaching mudra",
        "~make OK signs with both hands|~make rings with the fingers of both hands|"
        "~meditate with a mudra on each hand|~look through two finger rings like goggles|~give a double okay",
    ),
}
