"""Where, when, in what light, with which camera and in which style: words for what surrounds the hands, as data."""

from .wording import entries

PLACES = {
    "in": entries(
        "kitchen|garden|classroom|library|hospital corridor|parking lot|subway station|bus|train compartment|"
        "elevator|office|gym|locker room|church|museum|art gallery|bakery|coffee shop|restaurant|pub|jazz club|"
        "nightclub|concert hall|stadium|theater|movie theater|recording studio|photo studio|living room|bedroom|"
        "bathroom|basement|attic|garage|workshop|barn|field|forest|meadow|desert|cave|swamp|snowstorm|park|"
        "playground|courtyard|alley|village|market hall|supermarket|laundromat|barbershop|tattoo parlor|bookstore|"
        "greenhouse|vineyard|orchard|canoe|taxi|spaceship|castle|temple|courtroom|conference room|waiting room|"
        "factory|warehouse|laboratory|server room|tent|log cabin|swimming pool|sauna|tunnel|valley|cornfield|"
        "lavender field|sports hall|cafeteria|hotel lobby|flea market|antique shop|phone booth|boxing ring|hayloft|"
        "kayak|tea house|junkyard"
    ),
    "on": entries(
        "beach|street|bridge|balcony|rooftop|stage|boat|ferry|sailboat|train platform|mountain top|hill|cliff|pier|"
        "terrace|sidewalk|football field|tennis court|running track|ski slope|frozen lake|tropical island|farm|"
        "construction site|park bench|staircase|front porch|sofa|film set|red carpet|podium|dance floor|skateboard|"
        "country road|highway|escalator|market square|dune|picnic blanket|volcano|spaceship deck|city wall|campus|"
        "scaffold|barge|trail|glacier|airfield|golf course|lawn|jetty"
    ),
    "at": entries(
        "bus stop|party|wedding|birthday party|concert|rock festival|football match|press conference|demonstration|"
        "school play|family reunion|airport|train station|market|fish market|carnival|zoo|aquarium|gas station|lake|"
        "waterfall|campfire|barbecue|graduation|poker table|bar counter|auction|book fair|comic convention|"
        "job interview|trade fair|marathon|chess tournament|border crossing|crossroads|town hall meeting|county fair|"
        "movie premiere|housewarming|yard sale|science fair|harbor"
    ),
}
PLACE_LOOKS = entries(
    "crowded|quiet|empty|busy|small|tiny|huge|old|modern|cozy|dimly lit|abandoned|noisy|colorful|rainy|snowy|sunny|"
    "foggy|dusty|messy|elegant|shabby|rustic|famous|deserted|rural|provincial|overgrown|candlelit|neon-lit|windy|"
    "peaceful|chaotic|half-empty|newly painted|freezing|sun-drenched|moonlit|medieval|futuristic|charming|run-down|"
    "local|remote"
)
CITIES = entries(
    "Tokyo|Osaka|Seoul|Beijing|Shanghai|Hanoi|Bangkok|Jakarta|Manila|Mumbai|Delhi|Kolkata|Lahore|Tehran|Istanbul|"
    "Cairo|Lagos|Accra|Nairobi|Cape Town|Marrakesh|Tunis|Lisbon|Porto|Madrid|Barcelona|Seville|Paris|Lyon|Marseille|"
    "Rome|Milan|Naples|Palermo|Venice|Vienna|Berlin|Hamburg|Munich|Prague|Warsaw|Krakow|Budapest|Bucharest|Athens|"
    "Oslo|Stockholm|Copenhagen|Helsinki|Reykjavik|Dublin|Edinburgh|Glasgow|Manchester|Leeds|London|Bristol|Cardiff|"
    "New York|Boston|Chicago|Detroit|Austin|Houston|Denver|Seattle|Portland|San Francisco|Los Angeles|New Orleans|"
    "Nashville|Miami|Toronto|Montreal|Vancouver|Mexico City|Havana|Bogota|Lima|Santiago|Buenos Aires|Rio de Janeiro|"
    "Salvador|Sydney|Melbourne|Perth|Auckland|Honolulu|Kyiv|Tbilisi|Tel Aviv|Beirut|Dakar"
)
TIMES = entries(
    "at night|at dawn|at sunset|at noon|in the morning|in the evening|on a summer day|on a cold winter morning|"
    "in spring|in autumn|on a rainy afternoon|on Christmas Eve|on New Year's Eve|on a Sunday|after work|"
    "before breakfast|after midnight|during lunch|during a thunderstorm|during a heat wave|"
    "in the middle of the night|at the end of a long day|in the 1970s|in the 1920s|in 1985|on graduation day|"
    "after the game|before the show|during the break|in the rain|in light snow|in thick fog|in the early hours|"
    "on market day|on a Monday morning|on Halloween|after school|on the first day of school|on vacation|"
    "during rush hour|at high tide|under a full moon|just before closing time|on the last day of summer|"
    "in a light breeze"
)
LIGHT_MOODS = entries(
    "soft light|warm light|golden hour|cold light|neon light|candlelight|moonlight|soft natural light|"
    "dramatic lighting|studio lighting|cinematic lighting|moody light|harsh light|diffused light|bright daylight|"
    "morning light|dappled light|low-key lighting|high-key lighting|flickering light|gentle light|overcast light|"
    "volumetric light|blue hour|stage lights|ambient light|fluorescent light|firelight|hazy light|evening light|"
    "winter light|soft shadows|deep shadows|high contrast|lens flare"
)
LIGHTS = {
    "front": (
        "lit from the front",
        "front lighting",
        "with light from the front",
        "the light falling from the front",
        "lit head-on",
    ),
    "left": (
        "lit from the left",
        "with light from the left",
        "light falling from the left",
        "lamp on the left",
        "sidelight from the left",
    ),
    "right": (
        "lit from the right",
        "with light from the right",
        "light falling from the right",
        "lamp on the right",
        "sidelight from the right",
    ),
    "above": (
        "lit from above",
        "with light from above",
        "overhead light",
        "top lighting",
        "light falling from above",
        "under a ceiling lamp",
    ),
}
TEXTURES = {
    "plain": ("plain", "solid", "", "", "simple", "uniform", "clean"),
    "striped": ("striped", "stripy", "stripe-patterned"),
    "checkered": ("checkered", "checked", "checkerboard"),
    "dotted": ("dotted", "polka dot", "spotted"),
    "blurry": ("blurry", "blurred", "out-of-focus", "bokeh"),
}
SURFACES = entries(
    "wall|backdrop|background|background|background|curtain|paper backdrop|studio backdrop|screen|sheet"
)
CAMERAS = entries(
    "Canon EOS R5|Canon 5D Mark IV|Nikon D850|Nikon Z9|Sony A7 III|Sony A7R V|Leica M6|Leica Q2|Fujifilm X-T4|"
    "Fujifilm X100V|Hasselblad X2D|Hasselblad 500C|Pentax K1000|Olympus OM-1|Polaroid SX-70|iPhone 15|Pixel 8|GoPro|"
    "Rolleiflex|Mamiya RB67|Minolta X-700|Ricoh GR III|Panasonic Lumix S5|Samsung Galaxy|webcam|disposable camera|"
    "Holga|phone camera|old camcorder|drone"
)
LENSES = entries(
    "35mm lens|50mm lens|85mm lens|24mm lens|105mm macro lens|135mm lens|70-200mm lens|wide-angle lens|macro lens|"
    "telephoto lens|prime lens|vintage lens|50mm f/1.4|85mm f/1.8|35mm f/2|100mm f/2.8 macro|tilt-shift lens|"
    "anamorphic lens|kit lens|200mm f/2.8"
)
SETTINGS_OF_CAMERAS = entries(
    "f/1.8|f/2.8|f/4|f/8|f/1.2|ISO 100|ISO 400|ISO 1600|1/250s|1/1000s|1/60s|shallow depth of field|deep focus|bokeh|"
    "motion blur|long exposure|sharp focus|rack focus|film grain|Kodak Portra 400|Ilford HP5|Fuji Superia|Kodachrome|"
    "Tri-X|Cinestill 800T|expired film|double exposure|flash photography|no flash|eye level|low angle|high angle|"
    "Dutch angle|rule of thirds|centered composition|negative space|symmetrical composition"
)
QUALITIES = entries(
    "8k|4k|HD|UHD|highly detailed|ultra detailed|photorealistic|realistic|hyperrealistic|sharp|masterpiece|"
    "best quality|award winning|professional|intricate details|RAW photo|trending on artstation|octane render|"
    "unreal engine|natural colors|vivid colors|muted colors|pastel colors|black and white|sepia|monochrome|cinematic|"
    "editorial|minimalist|vintage|retro|grainy|glossy|matte|dreamy|gritty|crisp|high resolution|stock photo|"
    "national geographic|magazine cover|color graded|candid|trending"
)
MEDIA = entries(
    "photo|photograph|picture|image|snapshot|shot|portrait|selfie|polaroid|oil painting|watercolor|pencil drawing|"
    "charcoal sketch|ink drawing|comic panel|cartoon|anime still|3D render|clay figure|vector illustration|woodcut|"
    "poster|mural|pixel art piece|pastel drawing|engraving|stained glass window|linocut|fresco|movie still|"
    "documentary photo|press photo|stock photo|fashion photo|film photo|digital painting|concept art piece|"
    "pop art print|low-poly render|sketch|doodle|emoji|sticker|icon|GIF|meme|clip art image|emoji-style drawing|"
    "line drawing|infographic|flash card|T-shirt print|silhouette|stencil|mosaic|collage|cave painting|"
    "whiteboard drawing|frame from a video|screenshot|passport-style photo|yearbook photo|"
    "holiday snap|magazine cover|book cover|album cover|postcard|children's book illustration"
)
MEDIUM_LOOKS = entries(
    "candid|blurry|grainy|black and white|vintage|old|beautiful|stunning|simple|detailed|realistic|funny|moody|"
    "dramatic|faded|colorful|minimalist|professional|amateur|award-winning|sunlit|dark|bright|overexposed|"
    "low-quality|high-quality|hand-tinted|scratched|sharp|artistic|surreal|expressive|atmospheric|nostalgic|crisp|"
    "dreamy|underexposed|cinematic|quick|hyperrealistic"
)
STYLES = entries(
    "impressionist style|in the style of a 1950s poster|cubist style|art nouveau|art deco|baroque painting|ukiyo-e|"
    "manga style|studio anime style|cyberpunk|steampunk|vaporwave|solarpunk|film noir|western movie look|fantasy art|"
    "gothic|rococo|bauhaus|street photography|fashion photography|documentary style|reportage|product photography|"
    "food magazine look|flat design|isometric|paper cutout|claymation|stop motion|Renaissance style|surrealism|"
    "expressionism|pointillism|graffiti style|children's book style|technical illustration|medical illustration|"
    "infrared photo|cyanotype|daguerreotype|lomography"
)
OPENINGS = entries(
    "Show me|I want to see|Draw|Paint|Create|Generate|Please draw|Can you draw|Give me an image of|Make a picture of|"
    "Render|Imagine|Picture|I need a photo of|Please make an image of|Could you paint|Sketch|Design|"
    "Produce a photo of|We see|Here is|Here's|This is|There is|There's|It shows|The photo shows|The picture shows|"
    "In this image we see|Behold|Look at|Depict|Illustrate|A view of|My idea:|prompt:|Photo idea:|Scene:|"
    "Can you make|Can you make me a picture of|I want a picture of|I want an image of|Could I get a picture of|"
    "Draw me|Paint me|Please show me|I'd like a photo of|Hey, can you draw|Generate an image of|"
    "I'm looking for a picture of|Would you draw|Need a stock photo of|Make me an image of|Let me see|"
    "Can we have a picture of|Could you generate|What about a photo of|Visualize|Put together a shot of|"
    "I want see picture of|please make image with|give image of|need picture where we see|make for me|"
    "can you do for me|Simple request:|Subject:|Task: draw|Next image:|One more:|Same again, but|For my blog:|"
    "Here we have|On the photo:"
)
ONLOOKERS = entries(
    "in front of a cheering crowd|while friends laugh in the background|with a crowd behind|surrounded by tourists|"
    "among commuters|as the audience applauds|while a dog looks on|next to a sleeping cat|as reporters crowd around|"
    "with a marching band behind|while children run past|as people stream by|with blurred passers-by|"
    "watched by a judge|before an empty grandstand|as the train pulls in|while it snows|as confetti falls|"
    "while the band plays|with balloons everywhere|beside a broken car|next to a bicycle|in front of a food truck|"
    "under string lights|next to a tall cactus|beside a stack of books|with fireworks above|as the sun goes down|"
    "while the kettle boils|as the wind picks up|with pigeons all around"
)
DISTRACTORS = entries(
    "next to a hand-made vase|in front of a second-hand bookshop|beside a horned goat|"
    "with clock hands in the background|on what is otherwise a perfect day|near a fist-sized rock|"
    "after the peace treaty was signed|with a poster for a film about horns|near a shop called Rule of Thumb|"
    "while a rooster points its beak at a worm|with a handbag at {his} feet|beside a shelf of handbooks|"
    "next to a rack of secondhand coats|with a gun shop sign far behind|although, on the other hand, it is late|"
    "with a palm tree behind|under palm trees|next to a statue of a bull with long horns|"
    "with an OK Corral poster on the wall|beside a jar of fish fingers|while a cat sharpens its claws on a chair|"
    "with a hook for coats on the door|as the clock's hands show noon|near a sign for a handball match|"
    "with a purse on the table|with a box of butterfingers nearby|close to a handrail|"
    "beside a crossed-out word on a blackboard|with a C major chord playing|as a handyman walks by|"
    "next to a cup of tea|with a love letter on the desk|beside a stop sign|near a claw machine|"
    "with a tiger on a poster|with a firsthand view of the bay|beside a call box|near a left-luggage office|"
    "with a right-of-way sign behind|with nothing left on the shelves|where everything turned out all right|"
    "with the number 3 on a door behind|with five geese in the background|next to two parked bicycles|"
    "with a vintage Palm Pilot on the shelf"
)
