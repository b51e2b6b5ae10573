"""Who stands before the camera: names, jobs, kin, looks, clothes and moods, as data."""

from .wording import entries, words

HIS_NAMES = words(
    "James Robert Michael David William Daniel Joseph Thomas Carlos Miguel Juan Diego Luis Pedro Rafael "
    "Hiroshi Kenji Takumi Haruto Wei Jian Ming Arjun Ravi Sanjay Vikram Rohan Amir Omar Yusuf Hassan Ali "
    "Karim Tariq Ivan Dmitri Sergei Piotr Marek Tomasz Lars Erik Bjorn Henrik Sven Jens Hans Karl Otto Felix "
    "Lukas Jonas Pierre Luc Marcel Antoine Hugo Marco Luca Giovanni Matteo Enzo Kwame Kofi Chidi Emeka Tunde "
    "Sipho Thabo Jabari Liam Noah Ethan Mason Logan Owen Caleb Isaac Elijah Gabriel Oscar Victor Walter "
    "George Frank Harold Stanley Ernest Leroy Tyrone Darius Malik Jamal Andre Minh Tuan Somchai Rizal Budi "
    "Nikhil Farid Levi Ezra Simon Aaron Nathan"
)
HER_NAMES = words(
    "Mary Patricia Linda Susan Jessica Sarah Karen Emma Olivia Sophia Isabella Mia Charlotte Amelia Maria "
    "Carmen Lucia Valentina Camila Gabriela Ana Yuki Sakura Hana Aiko Mei Lin Xiu Priya Anjali Deepa Lakshmi "
    "Kavya Fatima Aisha Leila Zahra Noor Yasmin Olga Natasha Svetlana Anna Katarzyna Zofia Ingrid Astrid "
    "Freya Greta Heidi Ursula Claire Amelie Chloe Margot Giulia Chiara Francesca Bianca Ama Abena Ngozi "
    "Chiamaka Adaeze Zanele Thandi Amara Nia Imani Keisha Ruth Esther Hannah Naomi Rachel Leah Grace Faith "
    "Ruby Pearl Edith Agnes Mildred Doris Harriet Beatrice Florence Ivy Hazel Violet Daisy Linh Thuy Siti "
    "Dewi Malai Tala Marisol Paloma Ines Elena"
)
SURNAMES = words(
    "Smith Jones Brown Garcia Martinez Lopez Chen Wang Li Zhang Nguyen Tran Kim Park Lee Tanaka Sato Suzuki "
    "Patel Singh Sharma Kumar Khan Ahmed Hussein Haddad Cohen Levy Ivanov Petrov Kowalski Novak Horvath "
    "Larsen Hansen Nilsson Schmidt Weber Fischer Dubois Moreau Rossi Bianchi Romano Okafor Mensah Diallo "
    "Mbeki Adeyemi Abebe O'Brien Murphy MacDonald Campbell Evans Hughes Wright Baker Cooper Turner Silva "
    "Santos Pereira Costa Alvarez Castillo Reyes Cruz Flores Morales Yamamoto Ito Gupta Reddy Das Rahman "
    "Demir Yilmaz Popescu"
)
HIS_NOUNS = entries(
    "man|boy|young man|old man|guy|gentleman|teenage boy|grandfather|father|uncle|businessman|fisherman|monk|"
    "barista with a mustache|bearded man|bald man|king|prince|grandpa|dad|middle-aged man|altar boy|choirboy|"
    "father of three|bridegroom|best man|fireman|mailman|salesman|sportsman|frat boy|little boy|elderly gentleman|"
    "teenager with a thin mustache"
)
HER_NOUNS = entries(
    "woman|girl|young woman|old woman|lady|teenage girl|grandmother|mother|aunt|businesswoman|ballerina|nun|bride|"
    "bridesmaid|queen|princess|granny|mom|middle-aged woman|schoolgirl|pregnant woman|mother of two|actress|waitress|"
    "policewoman|flower girl|little girl|witch|sportswoman|elderly lady|redhead|grandma|housewife|heiress|hostess|"
    "young mother"
)
THEIR_NOUNS = entries(
    "person|child|kid|teenager|student|nurse|doctor|surgeon|dentist|teacher|professor|librarian|farmer|gardener|"
    "carpenter|plumber|electrician|mechanic|welder|miner|sailor|pilot|flight attendant|truck driver|bus driver|"
    "taxi driver|cyclist|runner|swimmer|gymnast|boxer|wrestler|football player|soccer player|basketball player|"
    "tennis player|goalkeeper|referee|coach|skateboarder|snowboarder|skier|climber|hiker|surfer|diver|astronaut|"
    "scientist|chemist|engineer|programmer|data analyst|architect|painter|sculptor|potter|photographer|film director|"
    "actor|comedian|magician|clown|juggler|mime|dancer|singer|rapper|DJ|guitarist|drummer|pianist|violinist|"
    "trumpet player|conductor|chef|baker|butcher|waiter|bartender|barista|sommelier|shopkeeper|cashier|tailor|"
    "hairdresser|florist|jeweler|blacksmith|beekeeper|shepherd|cowboy|firefighter|police officer|soldier|veteran|"
    "judge|lawyer|journalist|news anchor|politician|diplomat|activist|protester|priest|rabbi|imam|tourist|backpacker|"
    "commuter|pedestrian|janitor|construction worker|crane operator|factory worker|electric bass player|"
    "postal worker|gamer|streamer|influencer|cosplayer|punk|goth|hippie|biker|wizard|vampire|pirate|knight|samurai|"
    "Viking|superhero|detective|spy|toddler|preschooler|graduate|intern|CEO|accountant|pharmacist|veterinarian|"
    "zookeeper|park ranger|lumberjack|archaeologist|historian|poet|novelist|puppeteer|acrobat|fan|cheerleader|umpire|"
    "jockey|fencer|archer|yoga teacher|physiotherapist|midwife|paramedic|optician|watchmaker|bookseller|translator|"
    "tour guide|lifeguard|babysitter|street vendor|busker|tattoo artist|stunt double|understudy|apprentice"
)
KIN_HIS = entries(
    "grandfather|father|brother|little brother|uncle|husband|boyfriend|son|nephew|grandson|stepfather|dad"
)
KIN_HER = entries(
    "grandmother|mother|sister|little sister|aunt|wife|girlfriend|daughter|niece|granddaughter|stepmother|mom"
)
KIN_THEIR = entries(
    "neighbor|colleague|boss|math teacher|cousin|roommate|best friend|tennis partner|landlord|hairdresser|"
    "driving instructor|dentist|chess partner|youngest child|eldest child|lab partner|favorite bartender|"
    "physics professor|band's drummer|math tutor"
)
OWNERS = entries(
    "my|our|his|her|their|Tom's|Aunt May's|the mayor's|the owner's|somebody's|everybody's|the bride's|the coach's"
)
LOOKS = entries(
    "smiling|laughing|serious|cheerful|tired|happy|excited|nervous|shy|proud|confident|grumpy|thoughtful|friendly|"
    "elegant|stylish|athletic|tall|short|skinny|chubby|muscular|freckled|tanned|wrinkled|blond|dark-haired|"
    "curly-haired|gray-haired|red-haired|long-haired|tattooed|pierced|bespectacled|barefoot|sleepy|energetic|"
    "mysterious|handsome|beautiful|lanky|stocky|bored|sweaty|soaked|sunburned|cool|clumsy|polite|eccentric|famous|"
    "retired|homeless|wealthy|young|elderly|middle-aged|lonely|jolly|stern|goofy|charming|rugged|petite|"
    "broad-shouldered|toothless|amused|relieved|surprised|stubborn|quiet|talkative|heavily made-up|well-dressed|"
    "scruffy|weather-beaten|rosy-cheeked|wide-eyed|silver-haired|punkish|bohemian|preppy"
)
ORIGINS = entries(
    "Korean|Japanese|Chinese|Indian|Nigerian|Kenyan|Brazilian|Mexican|Spanish|Italian|French|German|Polish|Swedish|"
    "Norwegian|Irish|Scottish|Turkish|Greek|Egyptian|Moroccan|Ethiopian|Ghanaian|Vietnamese|Thai|Filipino|Indonesian|"
    "Australian|Canadian|American|British|Russian|Ukrainian|Argentinian|Colombian|Peruvian|Cuban|Jamaican|Iranian|"
    "Israeli|Lebanese|Dutch|Belgian|Danish|Finnish"
)
FEATURES = entries(
    "with glasses|with round glasses|with sunglasses|with a ponytail|with braids|with dreadlocks|with short hair|"
    "with long hair|with curly hair|with blue hair|with pink hair|with a buzz cut|with freckles|with a nose ring|"
    "with earrings|with a scarf|with a backpack|with a straw hat|with a baseball cap|with a beanie|with headphones|"
    "with a bow tie|with a necklace|with bangs|with a bandana|with messy hair|with green eyes|with red lipstick|"
    "with face paint|with a tired face|with flowers in {his} hair|with a towel around {his} neck|"
    "with a cat on {his} shoulder|with a parrot on {his} shoulder|with snow in {his} hair|"
    "with a camera around {his} neck|with paint on {his} face|with a gap in {his} teeth|with a hearing aid|"
    "with an eye patch|with a crooked nose|with a big belly|with a feather boa|with a flower crown|with a top hat|"
    "with a name tag|with a whistle"
)
EXPRESSIONS = entries(
    "smiling|grinning|laughing|with a big smile|with a shy smile|with a wink|looking serious|"
    "looking straight into the camera|eyes closed|with closed eyes|with raised eyebrows|looking bored|"
    "looking surprised|with an open mouth|sticking out {his} tongue|winking at us|with a straight face|with a frown|"
    "in tears|beaming with joy|with a mischievous grin|looking tired but happy|with a look of relief|"
    "with puffed cheeks|biting {his} lip|squinting into the sun|full of confidence|in deep thought|"
    "with an expression of pure joy|without a smile|half asleep|visibly proud|a bit embarrassed|with a smirk|"
    "chewing gum|whistling|singing|shouting|whispering|dancing|jumping for joy|nodding|shaking {his} head|"
    "standing on one leg|kneeling|crouching|leaning back|lost in thought|blushing|out of breath|shivering with cold|"
    "yawning"
)
ADVERBS = entries(
    "cheerfully|proudly|calmly|quickly|slowly|shyly|happily|casually|playfully|silently|firmly|gently|politely|"
    "confidently|lazily|solemnly|nervously|boldly|quietly|enthusiastically|secretly|awkwardly|jokingly|seriously|"
    "absent-mindedly|triumphantly|hesitantly|dramatically|patiently|clearly|suddenly|once more|again|as always|"
    "for the third time"
)
OTHER_ACTS = entries(
    "~sit on a bench|~stand in the rain|~lean against a car|~look over the fence|~wait for the bus|~walk a dog|"
    "~ride an escalator|~stand on a chair|~sit on the stairs|~lie on the grass|~look out of the window|"
    "~stand in line|~kneel in the sand|~listen to the radio|~watch the game|~stop in the middle of the street|"
    "~look back|~step out of a taxi|~sit by the fire|~wait backstage|~stand next to a snowman|~pose for a photo|"
    "~look up from the desk|~walk past the shop|~sit in a wheelchair|~stand at the bus stop|~tell a joke|"
    "~smile at the camera|~turn to the camera|~talk to a friend|~listen to a podcast|~look into the mirror|"
    "~sit in the front row|~stand under an umbrella|~wait for an answer|~rest on a log"
)
GARMENTS = entries(
    "sweater|hoodie|shirt|jacket|coat|blouse|cardigan|uniform|suit|raincoat|dress|kimono|tracksuit|jersey|turtleneck|"
    "flannel shirt|denim jacket|lab coat|bathrobe|pajamas|tunic|windbreaker|down jacket|blazer|sweatshirt|costume|"
    "linen shirt|silk blouse|knitted pullover|leather jacket|robe|tuxedo|poncho|parka"
)
BARE = entries(
    "in a sleeveless top|with bare arms|in a tank top|in a swimsuit|sleeveless|in a vest|"
    "in a summer dress without sleeves|with the sleeves rolled up|in a sports top|bare-armed|with bare shoulders|"
    "in a strapless dress"
)
HAND_LOOKS = entries(
    "wrinkled|small|big|calloused|tattooed|muddy|manicured|freckled|slender|bony|chubby|strong|delicate|dusty|wet|"
    "paint-stained|child's|woman's|man's|baby-soft|veiny|scarred|young|old|trembling|steady|graceful|hairy|smooth|"
    "floury|greasy|bandaged|sunburned|elegant|rough|suntanned|ink-stained|long-fingered|stubby|weathered|"
    "well-groomed|bejeweled|dirty|clean|cold|sweaty|gardener's|pianist's|surgeon's|worker's|dancer's|grandmother's|"
    "toddler's|teenager's|sculptor's|athlete's|baker's"
)
HAND_EXTRAS = entries(
    "with a wedding ring|with painted nails|with red nail polish|with black nails|with a wristwatch|with a bracelet|"
    "with a friendship bracelet|with chipped nail polish|with flour on the fingers|with ink on the fingertips|"
    "with short nails|with long nails|with a small tattoo on the wrist|with a silver ring|with a scar|"
    "with fine veins|with goosebumps|with henna patterns|with a band-aid|with a smartwatch|with water droplets|"
    "with mud on the knuckles|with a leather strap|with a string of beads around the wrist|with several rings|"
    "with glitter on the skin|with a signet ring"
)
