"""Words for images without hands: landscapes, animals, things, food, buildings, portraits, abstract art, as data."""

from .wording import entries, words

LAND = entries(
    "mountain lake|pine forest|sand dune|coastline|waterfall|canyon|glacier|meadow|river delta|volcano|rice terrace|"
    "lavender field|wheat field|tundra|coral reef|island|fjord|savanna|rainforest|birch grove|moor|salt flat|cliff|"
    "valley|hot spring|swamp|prairie|mangrove forest|vineyard|autumn forest|snowy peak|rocky beach|lagoon|estuary|"
    "oasis|cave|sea stack|frozen river|bamboo grove|apple orchard|tulip field|tea plantation|desert road|"
    "mountain pass|starry sky|thunderstorm|rainbow|full moon"
)
LAND_LOOKS = entries(
    "vast|quiet|misty|remote|breathtaking|barren|lush|golden|icy|stormy|serene|endless|wild|rugged|sunlit|moonlit|"
    "foggy|windswept|untouched|colorful|dark|snow-covered|rainy|dry|flooded|peaceful|dramatic|rolling|steep|blooming|"
    "ancient|pale"
)
LAND_EXTRAS = entries(
    "with a lone tree|with distant mountains|with grazing sheep|with a wooden hut|with a winding road|"
    "with low clouds|with reflections in the water|with wildflowers|with a rainbow above|with a flock of birds|"
    "with an old bridge|with power lines|with a ruined tower|with a lighthouse|with mossy rocks|with icebergs|"
    "with a small boat|with a railway line|with a fallen tree|with northern lights|with lightning|"
    "with a hot air balloon|with wind turbines|with no people|without a soul in sight"
)
ANIMALS = entries(
    "cat|dog|horse|cow|goat|sheep|pig|donkey|rabbit|fox|wolf|brown bear|polar bear|tiger|lion|leopard|elephant|"
    "giraffe|zebra|hippo|rhino|kangaroo|koala|panda|squirrel|hedgehog|otter|beaver|seal|whale|dolphin|shark|octopus|"
    "jellyfish|crab|lobster|turtle|frog|gecko|chameleon|snake|crocodile|eagle|owl|parrot|penguin|flamingo|swan|duck|"
    "rooster|peacock|sparrow|hummingbird|crow|bee|butterfly|dragonfly|beetle|spider|snail|moose|reindeer|camel|llama|"
    "bison|yak|badger|raccoon|hamster|goldfish|stag|ram"
)
ANIMAL_LOOKS = entries(
    "sleepy|curious|fluffy|wet|young|old|three-legged|spotted|striped|playful|hungry|wild|tame|tiny|majestic|shaggy|"
    "one-eyed|black|white|ginger|gray|muddy|angry|lazy|shy|newborn|fat|skinny|alert|friendly|long-haired|rare|cheeky|"
    "snow-covered"
)
ANIMAL_ACTS = entries(
    "sleeping|running|drinking from a puddle|yawning|looking into the camera|hiding behind a tree|chasing a ball|"
    "standing still|jumping over a fence|rolling in the mud|eating leaves|swimming|sitting on a wall|"
    "crossing the road|watching the sunset|stretching|shaking off water|grazing|climbing a tree|guarding its nest|"
    "resting in the shade|sniffing a flower|catching a fish|scratching itself|howling at the moon|carrying a stick|"
    "wearing a tiny hat|playing with yarn|peeking out of a box"
)
THINGS = entries(
    "vase|teapot|wristwatch|perfume bottle|sneaker|leather boot|suitcase|umbrella|bicycle|typewriter|violin|guitar|"
    "grand piano|lamp|armchair|wooden chair|mirror|clock|candle|book|stack of books|pair of glasses|chess set|globe|"
    "telescope|camera|smartphone|laptop|headphones|radio|vinyl record|teddy bear|toy robot|kite|skateboard|surfboard|"
    "tent|compass|lantern|key|padlock|coin|pocket watch|fountain pen|pencil|paintbrush|palette|hammer|screwdriver|"
    "wrench|kettle|frying pan|coffee mug|wine glass|knife|fork|spoon|basket|broom|rug|curtain|quilt|pillow|bathtub|"
    "washing machine|refrigerator|vacuum cleaner|motorcycle|vintage car|steam locomotive|sailing ship|airplane|"
    "rocket|tractor|fire truck|crown|sword|shield|statue of a horse|music box|snow globe"
)
THING_LOOKS = entries(
    "old|new|broken|shiny|dusty|antique|minimalist|wooden|brass|porcelain|glass|silver|golden|red|blue|green|yellow|"
    "black|white|pink|rusty|hand-made|second-hand|hand-painted|handwoven|plastic|tiny|huge|elegant|worn|vintage|"
    "modern|designer|cracked|polished|translucent|striped|velvet|marble|ceramic|forgotten|expensive|cheap|toy|"
    "child's|upright"
)
SPOTS = entries(
    "on a wooden table|on a marble counter|on a windowsill|on a shelf|in a display case|"
    "on the floor|on a pedestal|in an empty room|on a velvet cushion|in the grass|on a beach towel|"
    "in a cardboard box|on a workbench|in a shop window|at a flea market|on a desk|on a kitchen table|in the sand|"
    "on a stone wall|next to a potted plant|next to a window|under a spotlight|"
    "floating in mid-air|on a doorstep|in the snow|on a piano|on an old newspaper|on a mirror|beside a fireplace|"
    "in a suitcase|on a blue tablecloth|on a rock|in a puddle"
)
FOOD = entries(
    "bowl of ramen|pizza|plate of spaghetti|cheeseburger|stack of pancakes|apple pie|chocolate cake|fruit salad|"
    "loaf of bread|croissant|cup of coffee|glass of lemonade|sushi platter|taco|curry|paella|roast chicken|"
    "cheese board|tomato soup|omelet|pretzel|donut|ice cream cone|cupcake|smoothie|salad|plate of oysters|steak|"
    "box of chocolates|bunch of grapes|sliced melon|pot of tea|dumpling|bagel|sandwich|plate of ladyfingers|"
    "bowl of finger food|tray of fish fingers|jar of honey|basket of eggs"
)
FOOD_LOOKS = entries(
    "steaming|fresh|homemade|delicious|half-eaten|colorful|vegan|spicy|burnt|perfect|rustic|crispy|melting|"
    "golden brown|frozen|beautifully plated|greasy|tiny|giant|organic|sweet|glazed|overflowing|simple|traditional|"
    "decorated"
)
BUILDINGS = entries(
    "cathedral|skyscraper|farmhouse|lighthouse|castle|windmill|train station|stone bridge|temple|mosque|pagoda|"
    "library|museum|opera house|factory|gas station|diner|bookshop|second-hand bookshop|cottage|log cabin|villa|"
    "treehouse|barn|greenhouse|apartment block|town hall|street corner|alley|courtyard|market hall|subway entrance|"
    "harbor|shipyard|airport terminal|football stadium|water tower|clock tower|fortress|ruin|monastery|observatory|"
    "hotel lobby|empty classroom|staircase|long corridor|attic|wine cellar|living room|kitchen|bathroom|bedroom|"
    "swimming pool|spiral staircase|city skyline"
)
BUILDING_LOOKS = entries(
    "abandoned|modern|Gothic|Art Deco|brutalist|baroque|futuristic|ivy-covered|crumbling|medieval|white|brick|wooden|"
    "concrete|glass|deserted|snowy|neon-lit|sunlit|foggy|moonlit|empty|tiny|grand|colorful|derelict|half-finished|"
    "flooded|haunted|whitewashed"
)
ABSTRACT = entries(
    "geometric shapes|swirling lines|overlapping circles|drips of paint|a grid of squares|a fractal|marbled ink|"
    "a spiral|broad brush strokes|concentric rings|a mosaic of triangles|a color gradient|random dots|"
    "tangled threads|torn paper|waves of color|a maze of lines|splashes of paint|floating cubes|liquid metal|"
    "crystals|glitch patterns|soft blobs|zigzags|a tessellation|smoke|light trails|a kaleidoscope|checkerboard waves|"
    "static noise|a halftone pattern|dancing ribbons|a Voronoi diagram"
)
ABSTRACT_MOODS = entries(
    "in red and black|in pastel tones|in neon colors|in earthy colors|in blue and gold|in black and white|"
    "in muted greens|in orange and teal|in shades of gray|full of energy|calm and balanced|on a white canvas|"
    "on raw linen|in thick oil paint|in acrylic|as a wall hanging|as a wallpaper pattern|as an album cover|"
    "inspired by jazz|inspired by the sea|for a hotel lobby"
)
HIDDEN_HANDS = entries(
    "with {his} hands behind {his} back|hands behind {his} back|hands in {his} pockets|"
    "with both hands in {his} pockets|hands deep in {his} coat pockets|{his} hands out of frame|"
    "with {his} arms out of the frame|hands not visible|no hands visible|hands hidden under the table|"
    "hands out of sight|hands tucked away|with {his} hands clasped behind {his} back|"
    "arms hanging down, hands outside the picture|cropped above the hands|{his} hands under the desk|"
    "with no hands in the picture|{his} hands below the edge of the image|"
    "{his} arms at {his} sides, hands cut off by the frame|without showing {his} hands|hands hidden in long sleeves|"
    "hands under a blanket|hands concealed behind a curtain|not showing any hands|both hands behind the counter|"
    "{his} hands in the pockets of {his} jeans|one hand in each pocket"
)
HEADS = entries(
    "head and shoulders|headshot|face only|only the face|from the shoulders up|head and shoulders portrait|"
    "face close-up|close-up of the face|bust portrait|passport photo|profile of the head|just the head|"
    "cropped at the chest|face filling the frame|tight portrait of the face|from the chest up|shoulders up|mugshot|"
    "cameo portrait|side profile of the face"
)
HANDLESS_ACTS = entries(
    "looking out of the window|smiling|sleeping|looking away|gazing at the horizon|standing in the rain|"
    "waiting for a train|listening|thinking|laughing|crying|singing with closed eyes|frowning|"
    "staring into the camera|looking up|looking down|daydreaming|walking away from us|seen from far away|"
    "lost in a crowd|hidden behind a newspaper stand|standing behind a counter|floating in water up to the neck|"
    "buried in sand up to the shoulders|wrapped in a blanket|sitting behind a desk|turned away|in silhouette|"
    "covered by a poncho"
)
DISTRACTORS = entries(
    "a hand-made vase on a shelf|a second-hand bookshop in the rain|on the other hand, a quiet lake|"
    "thumbs down reviews of a film about horns|the signing table of a peace treaty, no people|"
    "a fist-sized rock on a scale|the hands of a clock at noon|a point of view shot of a roller coaster|"
    "a horned goat on a cliff|a perfect OK day at the beach|a handbag on a bench|a handrail in a stairwell|"
    "a row of handlebars|the second hand of a station clock|a thumbnail image of a mountain|a thumbtack on a map|"
    "a bulletin board full of thumbtacks|a dish of fish fingers|ladyfingers on a plate|a stop sign at a crossing|"
    "an L-shaped sofa|a V-shaped valley|a C-shaped bay|a U-turn sign|an eagle's claw on a branch|"
    "a claw hammer on a workbench|a crab with one big claw|a claw machine full of toys|a hook on a bathroom door|"
    "a fishing hook with a worm|a crossed-out word on paper|a crossroads at night|a gun in a display case|"
    "a water gun on the lawn|a peace lily in a pot|a dove of peace on a flag|a peace monument in a park|"
    "a painting of the horn of plenty|a French horn on a chair|a car horn on a steering wheel|a bull with long horns|"
    "a herd of longhorns|a rock concert poster without people|a rock formation|a rocking chair on a porch|"
    "a palm tree at sunset|a row of palms along the avenue|palm oil in bottles|a Palm Beach postcard|"
    "a fist of ginger root|a pinch of salt in a bowl|a pinch of saffron on paper|a purse on a table|"
    "a red leather purse|cupped leaves holding dew|a suction cup on glass|a tiger paw print in the mud|"
    "cat paws on a keyboard|a bear paw print in snow|a relaxed cat on a sofa|a surfboard with the words hang loose|"
    "a phone booth with a sign saying call me|a telephone off the hook|an I love you balloon|"
    "a love letter in an envelope|a spider in its web|a Spider-Man comic on a table|a Vulcan cannon in a museum|"
    "the crater of a volcano|a model of the starship Enterprise|a number three painted on a door|"
    "the number four on a jersey|a house number five|two candles on a cake|three geese in a row|"
    "four dice on green felt|five finger-shaped leaves|a foxglove in bloom|a pair of gloves on a radiator|"
    "knitted mittens on a line|a boxing glove on a nail|a glove compartment|a handkerchief on the grass|"
    "a handwritten letter|a handbook of botany|a handful of marbles in a jar|a stack of handcrafted soap|"
    "a left turn sign|a right angle in chalk|the right bank of the river|the left wing of a palace|"
    "a signpost pointing left|a weather vane pointing north|a church spire pointing at the sky|"
    "a pointing dog in a field|a flat tire|a flat screen on a wall|an open book|an open window|an open-air theater|"
    "a salute of cannons|a 21-gun salute, only smoke|a wave breaking on the shore|a heat wave over the highway|"
    "a wave of grain in the wind|a high five-story building|a good luck charm|a four-leaf clover for luck|"
    "a horseshoe above the door|a lucky cat figurine|a pinky-red sunset|a pinkish shell|a ring on a cushion|"
    "a boxing ring, empty|an index card box|the index of a dictionary|a middle-aged oak tree|a ring road at night|"
    "a jar of buttons with an OK label|a like button on a screen|a dislike icon on a phone|"
    "a review with one thumb and no stars|a rule of thumb written on a blackboard|"
    "knuckle joints of a crane, close-up|the back of a truck|a side view of a car|the back of a chair|"
    "a profile of a mountain|a fork with two prongs|scissors on paper|rock, paper and scissors as objects on a table|"
    "a Beijing alley|a bunny with long ears|rabbit ears on an old television"
)
GARMENT_COLORS = words(
    "red blue green yellow black white gray purple pink orange brown teal beige navy cream turquoise"
)
