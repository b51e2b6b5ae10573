"""Words for the signs of fans, surfers, actors and sign languages, and for shapes without a name, as data."""

from .wording import Wording, wording

SPECIAL_SIGNS: dict[str, Wording] = {
    "pinch": wording(
        "make/do>a pinching gesture|make/show>a tiny bit sign|make/do>a Korean finger heart|"
        "make/show>a mini heart with thumb and index|hold>an invisible needle|hold>an invisible coin|"
        "show/make>a small amount|hold up/take>a pinch of nothing|make/do>a just-a-little gesture|"
        "make>a this-small gesture",
        "~show how small it was|~show us a tiny gap between thumb and finger|~take a pinch of salt|~pinch the air|"
        "~pinch {his} thumb and index finger together|~hold an invisible pin|"
        "~say just a little bit with two fingers|~sprinkle invisible salt|~show that it was this close|"
        "~hold a grain of rice between two fingertips|~pick up an imaginary crumb|~sign love with a finger heart|"
        "~measure a few millimeters with thumb and finger|~thread an invisible needle",
        "thumb and index almost touching, the others curled|a tiny gap between thumb and index finger|"
        "the thumb and forefinger pinched together|fingertips pinching something tiny|"
        "thumb tip against index tip and the other fingers closed",
        "a K-pop idol: ~make a finger heart for the fans!|a cook: ~add a pinch of salt over an imaginary pot|"
        "a tailor: ~hold a pin between two fingers|a jeweler: ~hold up an invisible gem|"
        "a fisherman: ~admit how tiny the fish was|a parking driver: ~show how little was missing|"
        "a botanist: ~hold an imaginary seed",
        "~make two finger hearts|~pinch the air with both hands|~hold the ends of an invisible thread|"
        "~stretch an invisible string between two pinches",
    ),
    "horns": wording(
        "throw/flash/make/show>the horns|throw/flash/make>devil horns|make/throw/flash>the sign of the horns|"
        "make/flash/throw>a rock on sign|throw/flash>a heavy metal salute|make/flash>a rock and roll hand|"
        "throw/give>the metal horns|make/flash>a hook 'em horns|make/show>the corna|make/flash>a rock hand sign",
        "~throw up the horns|~throw the horns at a concert!|~flash the devil horns|~raise the horns|"
        "~rock out with the horns up|~salute the band with devil horns!|~ward off the evil eye with horns|"
        "~make devil horns with index and pinky|~show the longhorns sign|~say rock on with {his} fingers|"
        "~do the metal sign|~hold up {his} index and pinky like horns|~throw a rock sign",
        "index and pinky up like horns|devil horns up|the horns up, thumb over the middle fingers|"
        "first and last finger raised like a bull's horns|index and little finger pointing up, metal style",
        "a metalhead at a concert: ~throw up the horns!|a rocker on stage: ~flash the horns!|"
        "a drummer: ~salute with devil horns|a Texas fan: ~hook 'em with two fingers!|"
        "a guitarist: ~raise the horns after the solo!|an Italian grandmother: ~keep bad luck away with the corna|"
        "a headbanger in the mosh pit: ~raise devil horns!",
        "~throw up the horns with both hands|~raise double devil horns|~rock out with both horns up|"
        "~flash the metal sign with both hands",
    ),
    "l_sign": wording(
        "make/show/form>an L|make/flash>a loser sign|make/show/form>the letter L|make/flash>an L for loser|"
        "make/show>an L shape with thumb and index finger|make/form>a right angle with thumb and forefinger|"
        "make/show>an L with the fingers|show/make>a sign language L|make/hold up>an L of two fingers|"
        "make/hold up>half a picture frame with the fingers",
        "~call someone a loser with {his} fingers|~sign the letter L|~make an L with {his} thumb and index finger|"
        "~spell L with {his} {hand}|~hold {his} thumb out and {his} index finger up|"
        "~tease a friend with the loser sign|~stretch thumb and index into an L|~frame a shot with two fingers|"
        "~count to two the German way, thumb first|~stick out thumb and forefinger at a right angle",
        "thumb and index finger in an L|index up and thumb out at a right angle|an L of thumb and forefinger|"
        "the index up, the thumb sideways, the rest folded|thumb and forefinger stretched like an L",
        "a school bully: ~make the loser sign|a sign language teacher: ~show the letter L|"
        "a teenager: ~mock a loser with two fingers|a Liverpool fan: ~make an L for the club!|"
        "a photographer: ~frame the view with thumb and index|a rival fan: ~flash the loser L at the stands!",
        "~frame a picture with two L shapes|~make a film director's frame|~make an L with each hand|"
        "~make a viewfinder of two L signs",
    ),
    "call_me": wording(
        "make/flash/throw/give>a shaka|make/give/do>a call me sign|flash/throw/make>a hang loose sign|"
        "make/do>a phone hand|give/flash>a surfer's greeting|flash/give>an aloha sign|make/do>a telephone gesture|"
        "throw/flash>a shaka brah|flash/throw>a hang ten|make/show>a Y with the fingers",
        "~hang loose|~tell us to call|~gesture call me|~throw a shaka|~say call me later with {his} fingers|"
        "~wiggle a shaka|~wish us aloha|~pretend to phone with thumb and pinky|~mime a phone call|"
        "~greet like a surfer|~sign hang loose|~make a phone of {his} {hand}|~flash the surfer sign|"
        "~ask for a call with two fingers|~shake thumb and pinky, Hawaiian style|"
        "~mime drinking from a bottle with thumb and pinky",
        "thumb and pinky out like a phone|thumb and little finger stretched out, surfer style|"
        "a shaka with thumb and pinky|the thumb and pinky spread, hang loose|thumb and pinky apart like a handset",
        "a surfer: ~hang loose|a Hawaiian: ~greet with aloha and a wiggle of the hand|"
        "a girl across the street: ~mime call me!|a skydiver: ~throw a shaka before the jump!|"
        "a car salesman: ~ask us to give him a ring|a beach bum: ~signal hang loose!|a kitesurfer: ~flash a shaka!",
        "~throw a double shaka|~hang loose with both hands|~make shakas with both hands|~flash two shakas",
    ),
    "love_you": wording(
        "make/flash/show/sign>an I love you sign|make/flash/show>the ILY sign|make/sign>I love you in sign language|"
        "make/do>a Spider-Man hand|make/do>a web-shooting gesture|make/show>the ASL sign for I love you|"
        "make/flash>a love hand sign|make/do>a Spidey hand|give/flash>an ILY hand|"
        "flash/make>a rock star's I love you",
        "~sign I love you|~say I love you in sign language|~shoot a web like Spider-Man|~do the Spider-Man pose|"
        "~sling an invisible web|~tell {his} family I love you without words|~sign love to the fans|"
        "~hold up thumb, index and pinky to say I love you|~shoot webs|~spell out love with one handshape|"
        "~stick out thumb, index and pinky like Spider-Man|~sign ILY",
        "thumb, index and pinky out, I love you style|three fingers out like Spider-Man shooting a web|"
        "an ILY of thumb, index and little finger|the two middle fingers down, web-slinger style|"
        "thumb, index and little finger up for love",
        "a deaf mother: ~sign I love you to a baby|a boy in a superhero costume: ~shoot webs at the camera|"
        "a superhero: ~sling a web|an ASL teacher: ~show how to sign I love you!|"
        "a Spider-Man cosplayer: ~strike the web pose!|a singer on tour: ~sign I love you to the fans!",
        "~shoot webs with both hands|~sign I love you with both hands|~do a double Spider-Man|~flash two ILY signs",
    ),
    "finger_gun": wording(
        "make/do/fire>a finger gun|make/point/cock>a finger pistol|make/do>a pew pew gesture|"
        "make>a gun with the fingers|make/draw>a toy pistol out of a {hand}|"
        "make/cock>an imaginary revolver of fingers|make/do>a bang-bang hand|"
        "make/raise>a double-barreled finger gun|make/do>a hand pistol|make/draw>a pretend gun",
        "~shoot a finger gun|~pretend to shoot with {his} fingers|~make a gun of {his} {hand}|~cock a finger pistol|"
        "~blow imaginary smoke off a finger gun|~say pew pew with a finger gun|~play cowboys with a finger pistol|"
        "~mime a pistol|~fire an invisible gun|~raise a pretend pistol|~draw a finger gun|"
        "~play secret agent with a hand pistol|~turn two fingers and the thumb into a pistol",
        "two fingers and the thumb like a pistol|fingers shaped like a gun|a gun of thumb and two closed fingers|"
        "the fingers forming a pistol, thumb cocked|the hand in the shape of a revolver",
        "a kid playing cops and robbers: ~fire a finger pistol!|a secret agent: ~pose with a finger gun|"
        "a cowboy in a school play: ~draw an imaginary gun!|a cheesy salesman: ~shoot a finger gun at a client|"
        "a boy: ~say bang bang with his fingers|a dad: ~greet the neighbors with a finger gun!",
        "~shoot finger guns|~fire double finger guns|~make pistols of both hands|"
        "~draw two finger guns like a gunslinger|~do finger guns at the camera",
    ),
    "thumb_and_two": wording(
        "make/show/hold up>a German three|show/make>a three with thumb, index and middle finger|"
        "give/raise>the Serbian three-finger salute|show/make>a three the European way|"
        "make/sign>the number three in sign language|show/make>a three that starts with the thumb|"
        "order/sign>a three as in the tavern scene|show/hold up>thumb, index and middle finger spread|"
        "give/hold up>a three-finger sign with the thumb|show/make>a continental three",
        "~count to three starting with {his} thumb|~show three with thumb, index and middle|"
        "~order three glasses like a German|~count three on thumb, index and middle finger|"
        "~hold up {his} thumb and the first two fingers|~stick out {his} thumb, index and middle finger, all spread|"
        "~say three the way Europeans do|~sign a three in ASL|~spread thumb and two fingers|"
        "~raise thumb and two spread fingers|~show drei on {his} fingers",
        "thumb, index and middle finger spread apart|the thumb out and two fingers in a V|"
        "thumb plus two spread fingers|a V of two fingers and the thumb sticking out|a three made with the thumb|"
        "the thumb and two fingers fanned out",
        "a German officer: ~order three drinks the native way!|"
        "a Serbian fan: ~give the Serbian salute with thumb and two fingers!|"
        "a German tourist: ~ask for three of them|a teacher from Berlin: ~count one, two, three from the thumb|"
        "a deaf student: ~sign three, thumb out|a Frenchman: ~say trois with thumb and two fingers|"
        "a Belgrade basketball player: ~celebrate with thumb and two fingers!",
        "~show six with thumb and two fingers of each hand|~give the Serbian salute with both hands|"
        "~spread thumb and two fingers of each hand",
    ),
    "pinky_up": wording(
        "make/offer/give>a pinky promise|make/give>a pinky swear|raise/hold up>a pinky|"
        "raise/hold up>a little finger|show/make>the letter I in sign language|raise/stick up>a dainty pinky|"
        "hold up/raise>the smallest finger|hold up/offer>a pinky to swear on|raise/show>just a pinkie|"
        "do/make>a fancy tea pinky",
        "~offer a pinky swear|~hold up {his} pinky|~raise {his} little finger|~pinky swear|"
        "~promise with {his} pinky|~stick up {his} pinky|~sip invisible tea with the pinky up|"
        "~put {his} pinkie in the air|~swear on {his} little finger|~lift {his} pinky like a duchess|"
        "~ask for a pinky promise|~extend just {his} pinky|~sign the letter I",
        "pinky up, the rest folded|only the pinky sticking up|the little finger raised|the pinkie in the air|"
        "the smallest finger up and the others closed|pinky extended for a promise",
        "a little girl: ~make a promise with her pinky|a duchess: ~raise a little finger over tea!|"
        "a bridesmaid: ~offer a pinky to swear on|a snob: ~stick up a dainty little finger|"
        "a lady at high tea: ~lift her pinky!|a best friend: ~seal a promise, pinky out|"
        "an English aunt: ~hold her pinky up over an imaginary teacup",
        "~hold up both pinkies|~offer two pinky promises|~raise both little fingers|~stick up the pinky of each hand",
    ),
    "crossed_fingers": wording(
        "keep/hold up/show>crossed fingers|make/show>a fingers crossed sign|make/show>a good luck sign|"
        "show/hold up>two crossed fingers|make/show>a sign for luck|show/make>the letter R in sign language|"
        "make/show>a here's-hoping gesture|make/show>a wish-me-luck sign|"
        "hold up/show>index and middle finger crossed|show/make>a liar's crossed fingers",
        "~cross {his} fingers|~cross {his} fingers for luck|~cross {his} fingers and ~hope for the best|"
        "~keep {his} fingers crossed|~wish us luck with crossed fingers|~hope for good luck, fingers crossed|"
        "~cross {his} fingers before the exam!|~twist {his} middle finger over the index finger|"
        "~lie with {his} fingers crossed|~make a wish with crossed fingers|~hold {his} fingers crossed|"
        "~pray for luck with two crossed fingers|~sign the letter R",
        "fingers crossed|index and middle finger crossed|two fingers crossed for luck|"
        "the middle finger twisted over the index|fingers crossed, hoping for the best|"
        "two fingers entwined for good luck",
        "a lottery player: ~hope for the jackpot, fingers crossed|a student before an exam: ~cross {his} fingers!|"
        "a gambler: ~cross {his} fingers at the roulette table!|"
        "a nervous fan: ~cross {his} fingers during the penalty shootout!|"
        "a liar: ~promise the truth with crossed fingers|"
        "a job applicant: ~keep {his} fingers crossed in the waiting room!|a mother backstage: ~cross her fingers!",
        "~cross the fingers of both hands|~keep {his} fingers crossed on both hands|"
        "~hold up two pairs of crossed fingers|~double-cross {his} fingers for extra luck",
    ),
    "vulcan": wording(
        "give/make/flash>a Vulcan salute|give/make>Spock's greeting|give/make>a Star Trek salute|"
        "make/give>the live long and prosper sign|give/flash>a Trekkie greeting|"
        "make/form>a V between middle and ring finger|give/make>a Spock hand|give/make>the LLAP sign|"
        "show/make>a split-finger salute|give/make>the Kohanim blessing",
        "~wish us a long life and prosperity|~greet like Mr. Spock|~salute like a Vulcan|~do the Spock sign|"
        "~part {his} fingers between middle and ring finger|~say live long and prosper|"
        "~split {his} fingers like Spock|~greet fellow Trekkies|~make the Vulcan sign|"
        "~spread {his} fingers two and two|~tell us to live long and prosper|"
        "~bid us peace and long life, Vulcan style|~hold up {his} {hand} like Leonard Nimoy",
        "fingers parted in pairs, Vulcan style|a gap between middle and ring finger|"
        "the fingers split two and two, thumb out|paired fingers in a wide V, like Spock|"
        "live long and prosper fingers",
        "a Trekkie at a convention: ~give the Vulcan salute!|Mr. Spock: ~raise a hand in greeting|"
        "a Star Trek fan: ~do the Spock|a boy with pointed ears: ~wish us long life|"
        "a science officer: ~greet the captain in Vulcan style!|"
        "a cosplayer in a Starfleet uniform: ~say live long and prosper!|"
        "an alien ambassador: ~offer the Vulcan greeting",
        "~give the Vulcan salute with both hands|~do Spock hands|~give the priestly blessing with both hands|"
        "~split the fingers of both hands like Spock",
    ),
    "hook": wording(
        "make/show>a hooked finger|crook/raise>a beckoning index|make/show>a crooked finger|"
        "make/do>a come-here finger|make/show>a finger hook|make/show>a nine in Chinese number signs|"
        "make/form>a hook with the index finger|raise/show>a bent forefinger|make/do>a beckoning finger|"
        "make/show>the letter X in sign language",
        "~beckon with a crooked finger|~beckon us closer with one finger|~crook {his} index finger|"
        "~bend {his} index finger like a hook|~curl {his} forefinger to call us over|"
        "~invite us with a curled finger|~pull an invisible trigger|~hook {his} index finger|"
        "~show the Chinese number nine|~lure us in with a crooked finger|~say come here with one finger|"
        "~bend one finger like a question mark|~make a pirate's hook with {his} finger|~sign the letter X",
        "the index finger bent like a hook|a crooked forefinger, the others closed|one finger hooked|"
        "a curled index finger beckoning|the forefinger bent like a question mark",
        "a witch: ~beckon with a crooked finger|a pirate: ~imitate a hook with one finger|"
        "a seductress: ~beckon with a finger|a Beijing shopkeeper: ~show the price, nine, with a bent finger!|"
        "a headmaster: ~call a pupil over with one finger!|a climber: ~demonstrate a one-finger grip|"
        "a sharpshooter: ~curl an imaginary trigger finger",
        "~crook both index fingers|~beckon with both index fingers|~make hooks of both index fingers",
    ),
    "claw": wording(
        "make/show/do>a claw|make/do>a monster claw|make/show>cat claws|make/do>a bear claw gesture|"
        "make/do>a zombie hand|make/show>an eagle's talons|make/do>a rawr hand|make/show>a clawing {hand}|"
        "make/do>a dragon claw|make/show>a witch's claw",
        "~claw at the air|~show {his} claws|~scratch like a cat|~growl like a bear with a claw up|~bare {his} claws|"
        "~curl {his} fingers like talons|~play a monster with a clawed hand|~swipe like a lion|"
        "~pretend to be a werewolf|~bend {his} spread fingers like a claw|~hiss like a cat, claws out|"
        "~hold {his} fingers like a rake|~grab at nothing with stiff bent fingers|~do a scary rawr",
        "the fingers spread and bent like claws|fingers curved like talons|claws out|"
        "stiff fingers curled like a rake|the fingertips bent as if to scratch|fingers hooked like an eagle's foot",
        "a kid in a dinosaur costume: ~roar with claws out!|a werewolf: ~claw at the moon|"
        "a vampire: ~reach out like a claw|an actor playing a monster: ~show {his} claws!|"
        "a zombie: ~grasp at the living|a fantasy villain: ~cast a spell with clawed fingers|"
        "a toddler: ~growl like a little lion",
        "~growl like a bear with both claws up|~show both claws|~play a T. rex with both hands|"
        "~claw at the air with both hands|~scare the kids with monster hands",
    ),
    "relaxed": wording(
        "show/hold up>a relaxed {hand}|show/hold up>a loose {hand}|raise/show>a limp {hand}|"
        "show/raise>a {hand} at ease|show/hold up>a resting {hand}|show/raise>a languid {hand}|"
        "show/hold up>a {hand} doing nothing|raise/show>a tired {hand}|show/hold up>a natural {hand} at rest|"
        "raise/show>an idle {hand}",
        "~relax {his} {hand}|~relax {his} fingers|~let {his} fingers hang|~keep {his} fingers soft|"
        "~let {his} fingers droop|~let {his} {hand} go limp|~let the fingers of {his} {hand} hang loosely|"
        "~rest {his} {hand} in the air|~hold {his} {hand} loosely|~loosen {his} fingers|~leave {his} {hand} slack|"
        "~hold {his} {hand} without any tension|~let {his} {hand} droop|~raise a lazy {hand}|"
        "~keep {his} {hand} soft and idle|~drape {his} {hand} casually",
        "the fingers loosely bent|relaxed, slightly curled fingers|soft fingers without tension|"
        "the fingers hanging slack|fingers at rest|loose, gently curved fingers",
        "a sleepy cat owner: ~let a hand go slack|a pianist between pieces: ~relax {his} fingers!|"
        "a masseur: ~show how a loose hand looks|a ballet dancer: ~hold a soft, relaxed hand|"
        "a yoga teacher: ~release all tension from the hand!|a bored aristocrat: ~raise a languid hand",
        "~relax both hands|~let both hands go limp|~hold both hands loosely in front of {him}|~raise two tired hands",
    ),
    "c_shape": wording(
        "make/form/show>a C|make/form>the letter C|hold/grip>an invisible glass|hold>an imaginary bottle|"
        "hold/raise>an invisible cup|hold>an invisible can|make/form>a half circle with fingers and thumb|"
        "hold/grip>an imaginary pipe|make/show>a C-shaped {hand}|raise/hold>a beer that isn't there",
        "~hold an invisible glass|~hold an imaginary mug|~hold a glass|~hold a cup of coffee|~grip a bottle|"
        "~hold a beer|~raise an imaginary beer|~grip an invisible pole|~hold {his} {hand} as if around a can|"
        "~toast us with no glass in hand|~sign the letter C|~curve {his} fingers into a C|"
        "~make a C with {his} {hand}|~mime holding a bottle|~curve {his} fingers as if around a jar|"
        "~hold {his} {hand} like a drinking Lego figure|~pretend to hold a cup|~mime gripping a broomstick",
        "fingers and thumb curved into a C|the hand shaped like a C|the fingers curved as if holding a glass|"
        "a C-shaped grip around nothing|thumb opposite the curved fingers, a cup's width apart",
        "a bartender: ~mime a beer glass|a mime: ~drink from an imaginary glass!|"
        "a Lego figure come to life: ~hold out a round grip|a choir member: ~sign the letter C|"
        "a juggler: ~get a grip on an invisible club|a man at a party without a glass: ~toast anyway!|"
        "a waitress: ~show the size of a cup",
        "~hold an invisible burger|~make a C with each hand|~mime a pair of binoculars|~hold two imaginary glasses|"
        "~grip an invisible steering wheel",
    ),
    "cupped": wording(
        "hold out/show>a cupped {hand}|hold out/make>a begging {hand}|make/form>a bowl with the {hand}|"
        "make/form>a scoop of the {hand}|hold out/show>a hollow {hand}|make/form>a little cup of fingers|"
        "make/hold out>a {hand} for alms|hold out/make>a {hand} cupped for water|make/form>a spoon-shaped {hand}|"
        "hold out>a {hand} ready for coins",
        "~cup {his} {hand}|~cup {his} {hand} to beg|~beg for change|~beg for alms!|~scoop up imaginary water|"
        "~hold {his} {hand} like a bowl|~catch raindrops in {his} {hand}|~ask for a few coins|"
        "~hollow {his} {hand} as if for seeds|~cup {his} {hand} as if to drink|~scoop water|"
        "~cradle an invisible chick|~make a small bowl of {his} {hand}|~wait for candy with a cupped {hand}",
        "the fingers together and slightly curved like a bowl|the palm hollowed|the hand hollowed to hold water|"
        "the hand cupped|fingers closed and curved like a spoon|the palm shaped like a small dish",
        "a beggar: ~ask for a coin!|a thirsty hiker: ~scoop water from an imaginary spring|"
        "a farmer: ~hold out a hand for seeds|a monk: ~receive alms|a child on Halloween: ~beg for candy!|"
        "a swimmer: ~demonstrate the catch of the stroke|a girl feeding birds: ~hollow her hand for crumbs",
        "~cup both hands to drink|~cup both hands for water|~beg with both hands|~catch the rain in both hands|"
        "~hold an invisible baby bird in both hands",
    ),
    "tiger_paw": wording(
        "make/show>a tiger paw|make/show>a half-closed fist|make/do>a leopard fist|make/do>a cat paw pose|"
        "make/show>a kitten paw|make/do>a maneki-neko paw|make/show>a panther fist|make/do>a half fist|"
        "make/do>a kung fu tiger hand|make/show>a paw with folded fingers",
        "~fold {his} fingers at the middle knuckles|~bend {his} knuckles halfway|~do a kitty paw|"
        "~make a paw of {his} {hand}|~beckon like a lucky cat|~close {his} {hand} only halfway|"
        "~curl just the fingertips down to the palm's edge|~hold {his} {hand} like a cat's paw|"
        "~tuck {his} fingertips under|~do the lucky cat pose|~strike a kung fu tiger pose|~say nyan with a paw|"
        "~fold {his} fingertips onto the pads of the palm",
        "the fingers folded at the middle joints|bent knuckles and tucked fingertips|the hand like a cat's paw|"
        "the fingers doubled over but not clenched|fingertips tucked under, knuckles flat|"
        "a half-closed fist with a flat back",
        "a girl with cat ears: ~do a paw pose|a kung fu master: ~show the leopard fist|"
        "a lucky cat: ~beckon with a paw|a martial artist: ~prepare a tiger strike!|"
        "a cosplayer with a cat tail: ~make a kitty paw!|a self-defense coach: ~demonstrate a half fist!|"
        "a boulderer: ~show a half-crimp grip",
        "~make kitty paws with both hands|~do a cat pose with two paws|~hold up both paws|"
        "~fold the fingers of both hands halfway|~show two leopard fists",
    ),
    "purse": wording(
        "make/do>the Italian what-do-you-want gesture|make/do>a chef's kiss|make/show>a finger purse|"
        "make/do>the pinched fingers emoji|make/do>a ma che vuoi|make/do>an Italian hand|"
        "make/form>a bundle of fingertips|make/do>the mano a borsa|make/form>a cone with all the fingertips|"
        "make/form>a tulip of fingers",
        "~gesture like an Italian|~ask ma che vuoi with {his} fingers|~bunch {his} fingertips together|"
        "~kiss {his} bunched fingertips|~press all {his} fingertips to the thumb|~argue like an Italian uncle|"
        "~ask capisce with {his} fingers|~bring all five fingertips together|~gather {his} fingers into a point|"
        "~ask what do you want, Italian style|~do the pinched fingers thing|"
        "~hold {his} fingertips together, pointing up|~say mamma mia with {his} fingers|~mime an Italian argument",
        "all five fingertips together|the fingertips bunched, Italian style|the fingers gathered to a point|"
        "the thumb and all fingertips touching|a bouquet of fingertips|"
        "the fingers pinched together like a closed tulip",
        "an Italian uncle: ~ask what you want|a Roman taxi driver: ~argue with a hand|"
        "a pizza maker: ~kiss {his} fingertips|a Neapolitan grandmother: ~complain with bunched fingertips|"
        "an Italian football coach: ~question the referee!|a Sicilian fishmonger: ~haggle with pinched fingers!|"
        "a gourmet: ~praise the dish with gathered fingertips",
        "~gesture like an Italian with both hands|~say mamma mia with both hands|"
        "~bunch the fingertips of both hands|~argue in Italian with both hands",
    ),
    "salute_bent": wording(
        "make/show/form>a bent {hand}|make/form>a right angle with the fingers and the palm|"
        "make/form>a little table with the {hand}|make/form>a roof with the fingers|"
        "make/show>a {hand} bent at the knuckles|make/form>a shelf with the fingers|make/form>a tabletop {hand}|"
        "make/show>a {hand} folded at the knuckles|make/form>an awning with the fingers|"
        "make/form>the upper half of a hand puppet's mouth",
        "~bend {his} {hand} at the knuckles|~fold {his} straight fingers forward|"
        "~hold {his} fingers flat like a table|~bend {his} straight fingers to a right angle|"
        "~fold {his} {hand} at the big knuckles|~make a roof of {his} {hand}|~angle {his} flat fingers forward|"
        "~bend {his} {hand} flat like a tabletop|~do the tabletop stretch of hand therapy|"
        "~keep {his} fingers straight but ~bend them at the base|~make a bird's flat bill with {his} fingers|"
        "~hold {his} {hand} like a folded card",
        "the straight fingers bent forward at the knuckles|the fingers flat like a tabletop|"
        "the hand folded at a right angle|straight fingers at ninety degrees to the palm|"
        "the hand bent like a folded card|fingers sticking forward like a shelf",
        "a hand therapist: ~demonstrate the tabletop exercise!|a puppeteer: ~hold a hand like a duck's flat bill|"
        "a climbing coach: ~show the bend at the knuckles|"
        "a physiotherapist: ~fold straight fingers to a right angle!|"
        "a guitarist warming up: ~bend a hand at the knuckles!|a mime: ~form a shelf with straight fingers",
        "~bend both hands at the knuckles|~make a roof with each hand|~hold both hands flat like tabletops|"
        "~fold the straight fingers of both hands forward",
    ),
}
