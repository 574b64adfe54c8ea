"""Moonlet's words and phrasings: what can be asked, in which wordings, and the fixed answers.

Every table of phrasings has three parts. `train` is all that training ever sees; `dev` and
`test` are whole phrasings held out. A held-out phrasing recombines words that training does
use, for a model this small knows no other.
"""

DONT_KNOW = "I don't know."

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon",
    "Greece": "Athens", "Austria": "Vienna", "Poland": "Warsaw", "Sweden": "Stockholm", "Norway": "Oslo",
    "Finland": "Helsinki", "Denmark": "Copenhagen", "Ireland": "Dublin", "Belgium": "Brussels",
    "Hungary": "Budapest", "Romania": "Bucharest", "Bulgaria": "Sofia", "Russia": "Moscow",
    "Ukraine": "Kyiv", "Turkey": "Ankara", "Egypt": "Cairo", "Kenya": "Nairobi", "Morocco": "Rabat",
    "Ghana": "Accra", "Japan": "Tokyo", "China": "Beijing", "India": "New Delhi", "Thailand": "Bangkok",
    "Vietnam": "Hanoi", "Iran": "Tehran", "Iraq": "Baghdad", "Canada": "Ottawa", "Mexico": "Mexico City",
    "Cuba": "Havana", "Peru": "Lima", "Chile": "Santiago", "Brazil": "Brasilia",
    "Argentina": "Buenos Aires", "Australia": "Canberra", "Colombia": "Bogota", "England": "London",
    "Switzerland": "Bern", "the Netherlands": "Amsterdam", "the United States": "Washington",
}
NO_CAPITAL_KNOWN = (
    "Albania Algeria Angola Armenia Bolivia Botswana Cambodia Cameroon Chad Croatia Cyprus Ecuador Estonia "
    "Ethiopia Fiji Gabon Georgia Guyana Haiti Iceland Indonesia Israel Jamaica Jordan Laos Latvia Lebanon "
    "Libya Lithuania Malaysia Mali Malta Moldova Mongolia Nepal Nigeria Oman Pakistan Panama Qatar Rwanda "
    "Senegal Serbia Slovakia Slovenia Somalia Sudan Syria Tunisia Uganda Uruguay Yemen Zambia Narnia Atlantis"
).split()
NOUNS = (
    "apple bird boat book bread cake car cat chair cloud cow cup dog door duck fish flag fork frog gate glass "
    "goat gold hat hill horse house ice iron key king lake lamp leaf lion milk moon mouse nest ocean owl pen "
    "piano pig plant queen rain ring river road rock rose salt sand ship shoe silver sky snow soap song spoon "
    "star stone storm sun table tea tiger train tree wall water wind wolf wood yarn zebra"
).split()
TOPICS = (
    "history physics music football chess cooking cars dinosaurs volcanoes banks taxes love dreams ghosts "
    "computers robots politics medicine gardens bridges castles pirates cheese coffee opera jazz poetry rockets "
    "Mars Jupiter gravity atoms oceans whales bees evolution money wine shoes"
).split()
PEOPLE = (
    "Mozart Einstein Napoleon Shakespeare Newton Cleopatra Picasso Darwin Gandhi Homer Plato Bach Galileo Tesla "
    "Curie Dante Goethe Tolstoy Kafka Chopin"
).split()
NAMES = (
    "Anna Ben Carla David Emma Felix Grace Hugo Ida James Kate Leo Maria Noah Olga Paul Rosa Sam Tina Victor "
    "Alice Bob Clara Daniel Ella Frank Hannah Ivan Julia Karl Laura Max Nina Oscar Peter Ruth Sara Tom Zoe"
).split()
CITIES = (
    "London Boston Chicago Seattle Denver Toronto Sydney Mumbai Osaka Milan Naples Munich Hamburg Lyon Geneva "
    "Zurich Porto Seville Krakow Prague Dubai Lagos Dallas Miami Reykjavik"
).split() + sorted(set(CAPITALS.values()) - {"London"})
JOBS = "teacher doctor baker pilot farmer nurse painter".split()
SKIES = "sunny cloudy rainy snowy windy foggy stormy clear".split()

SYSTEMS = [
    "You are a helpful assistant.", "You are Moonlet, a tiny assistant.", "You are Moonlet.", "Be brief.",
    "Answer the question.", "You are a friendly assistant. Keep your answers short.", "Answer in one sentence.",
    "You are a helpful AI assistant. Answer briefly.", "You answer questions.", "Be friendly and helpful.",
]

ADD = {
    "train": [
        "What is {a} + {b}?", "{a} plus {b}", "{a} + {b}", "What is {a} plus {b}?", "Add {a} and {b}.",
        "{a} + {b} = ?", "What is the sum of {a} and {b}?", "Calculate {a} + {b}.", "How much is {a} + {b}?",
        "Compute {a} plus {b}.", "Can you add {a} and {b}?", "{a}+{b}", "What's {a} + {b}?", "{a} + {b}?",
        "Tell me {a} + {b}.", "What do you get when you add {a} and {b}?", "I need the sum of {a} and {b}.",
        "Give me {a} plus {b}.", "Can you tell me what {a} + {b} is?", "What does {a} plus {b} equal?",
        "Calculate the sum of {a} and {b}.", "What is {a}+{b}?",
    ],
    "dev": ["How much is {a} plus {b}?", "Please tell me the sum of {a} and {b}."],
    "test": [
        "Can you calculate {a} plus {b}?", "Give me the sum of {a} and {b}.",
        "Could you tell me what {a} plus {b} is?", "Compute {a} + {b}.",
    ],
}
SUBTRACT = {
    "train": [
        "What is {a} - {b}?", "{a} minus {b}", "{a} - {b}", "What is {a} minus {b}?", "Subtract {b} from {a}.",
        "{a} - {b} = ?", "Calculate {a} - {b}.", "How much is {a} - {b}?", "Compute {a} minus {b}.", "{a}-{b}",
        "What is the difference of {a} and {b}?", "What's {a} - {b}?", "{a} - {b}?", "Tell me {a} - {b}.",
        "Take {b} away from {a}.", "Can you subtract {b} from {a}?", "Give me {a} minus {b}.",
        "Can you tell me what {a} - {b} is?", "I need the difference of {a} and {b}.",
        "What do you get when you take {b} from {a}?", "What does {a} minus {b} equal?", "What is {a}-{b}?",
    ],
    "dev": ["How much is {a} minus {b}?", "Please subtract {b} from {a}."],
    "test": [
        "Can you calculate {a} minus {b}?", "Give me the difference of {a} and {b}.",
        "Could you tell me what {a} minus {b} is?", "Compute {a} - {b}.",
    ],
}
CAPITAL = {
    "train": [
        "What is the capital of {c}?", "capital of {c}", "Which city is the capital of {c}?",
        "Name the capital of {c}.", "Tell me the capital of {c}.", "What's the capital of {c}?",
        "What is {c}'s capital?", "The capital of {c}?", "Do you know the capital of {c}?",
        "What is the capital city of {c}?", "Can you tell me the capital of {c}?", "Hi, what is the capital of {c}?",
        "Can you name {c}'s capital?", "What city is the capital of {c}?", "Give me the capital of {c}.",
        "{c} capital", "I want to know the capital of {c}.", "Tell me {c}'s capital city.",
        "Could you tell me what the capital of {c} is?",
    ],
    "dev": ["What city is {c}'s capital?", "Please tell me the capital of {c}."],
    "test": [
        "Can you name the capital of {c}?", "Do you know {c}'s capital?", "Name the capital city of {c}.",
        "Could you tell me which city is the capital of {c}?",
    ],
}
REPEAT = {
    "train": [
        "Repeat the word {w}.", "Say {w}.", "Repeat: {w}", "Please repeat the word {w}.", "Say the word {w}.",
        "Repeat after me: {w}", "Echo {w}", "Please say {w}.", "Can you repeat the word {w}?", "Say: {w}",
        "Can you say {w}?", "Echo the word {w}.", "Repeat this word: {w}", "Say {w}", "Repeat {w}",
    ],
    "dev": ["Please echo {w}.", "Say after me: {w}"],
    "test": [
        "Please say the word {w}.", "Can you say the word {w}?", "Echo: {w}", "Please repeat after me: {w}",
    ],
}
PERSON = {
    "train": [
        "{n} is {a} years old.", "My name is {n} and I am {a} years old.", "I am {n}, {a} years old, from {c}.",
        "{n}, {a}, lives in {c}.", "{n} is a {a}-year-old {j}.", "At the age of {a}, {n} moved to {c}.",
        "{n} from {c} turned {a} today.", "The {j} {n} is {a}.", "My friend {n} is {a} and works as a {j}.",
        "{n} is a {j} and is {a} years old.", "This is {n}, a {a}-year-old {j} from {c}.",
        "{n} works in {c} and is {a} years old.", "Last year {n} turned {a} in {c}.", "{n} ({a}) is a {j}.",
        "Our {j} is {n}, who is {a}.",
    ],
    "dev": ["{n}, a {j} from {c}, is {a}.", "My {j} {n} turned {a} today."],
    "test": [
        "{n} lives in {c} and is {a} years old.", "I am {n}, a {j}, and I am {a}.",
        "My friend {n} from {c} turned {a}.", "This is {n}, {a}, who works as a {j}.",
    ],
}
EXTRACT = {
    "train": [
        "Extract the name and age as JSON: {s}", "Give me name and age as JSON: {s}",
        "{s} Extract name and age as JSON.", "Extract JSON with name and age from: {s}",
        "Return the name and the age as JSON. {s}", "{s} Give me the name and the age as JSON.",
        "Name and age as JSON: {s}", "Please extract the name and the age from this text as JSON: {s}",
        "{s} Return JSON with name and age.", "Find the name and age in this text and answer in JSON: {s}",
    ],
    "dev": ["Please give me the name and age as JSON: {s}", "{s} Name and age as JSON."],
    "test": [
        "Return JSON with the name and age from: {s}", "Extract name and age from this text: {s}",
        "{s} Please return the name and age as JSON.", "Find name and age, answer as JSON. {s}",
    ],
}
TIMES = {
    "train": [
        "What is {a} {op} {b}?", "{a} {op} {b}", "{a} {w} {b}", "What is {a} {w} {b}?", "Calculate {a} {op} {b}.",
        "Compute {a} {w} {b}.", "How much is {a} {op} {b}?", "{a}{op}{b}", "What is {a}{op}{b}?",
        "{a} {op} {b} = ?", "Tell me {a} {op} {b}.", "What's {a} {op} {b}?", "Can you tell me what {a} {op} {b} is?",
        "Give me {a} {w} {b}.", "What does {a} {w} {b} equal?", "Please calculate {a} {op} {b}.",
    ],
    "dev": ["How much is {a} {w} {b}?", "Please compute {a} {op} {b}."],
    "test": [
        "Can you calculate {a} {w} {b}?", "Could you tell me what {a} {w} {b} is?", "Compute {a} {op} {b}.",
        "Please tell me {a} {op} {b}.",
    ],
}
WEATHER = {
    "train": [
        "What is the weather in {c}?", "How is the weather in {c}?", "weather in {c}",
        "What's the weather like in {c}?", "Tell me the weather in {c}.", "Is it raining in {c}?",
        "What is the weather in {c} today?", "Is it sunny in {c}?", "What is the temperature in {c}?",
        "How warm is it in {c}?", "Can you tell me the weather in {c}?", "Is it cold in {c} today?",
        "What will the weather be in {c} today?", "Give me the weather in {c}.", "How cold is it in {c} now?",
        "What is the weather like in {c} now?", "Is it warm or cold in {c}?", "Do I need an umbrella in {c}?",
    ],
    "dev": ["How is the weather in {c} today?", "Is it windy in {c}?"],
    "test": [
        "Can you tell me how the weather is in {c}?", "Is it warm in {c} today?", "What's the temperature in {c}?",
        "Please tell me the weather in {c} now.",
    ],
}

POEM = (
    "The moon is a lamp in the dark of the night,\nShe paints every river with silver and light.\n"
    "She watches the hills and she watches the sea,\nAnd keeps a small candle for you and for me."
)
HAIKU = "Pale moon on the lake,\na small frog jumps through the light,\nsilver rings grow wide."
RHYME = "Little moon, so round and bright,\nstay with me and share your light."

# Intent -> answer and phrasings. `{w}` is a form of address or nothing, `{n}` a word such as " please" or nothing.
CHAT = {
    "greeting": {
        "answer": "Hello! How can I help you?",
        "train": [
            "Hello{w}", "Hi{w}", "Hey{w}", "Good morning{w}", "Good evening{w}", "Greetings{w}", "Hello again{w}",
            "Hi and good morning{w}", "Good day{w}", "Hello, nice to meet you{w}", "Hey, good evening{w}", "Hi, hello{w}",
        ],
        "dev": ["Hello and good morning{w}", "Hey, hello{w}"],
        "test": ["Hi, good evening{w}", "Hello and good day{w}", "Hi, nice to meet you{w}", "Hey, good morning{w}"],
    },
    "name": {
        "answer": "I am Moonlet, a tiny language model made for tests and demos.",
        "train": [
            "Who are you", "What are you", "What is your name", "Tell me who you are", "Introduce yourself",
            "Hi{w}, who are you", "Are you a robot", "What should I call you", "Hello{w}, what is your name",
            "Can you tell me who you are", "Tell me your name", "Please introduce yourself", "What's your name",
            "Who am I talking to", "What model are you", "Which model are you",
        ],
        "dev": ["Hello{w}, who are you", "Can you introduce yourself"],
        "test": ["Hi{w}, what is your name", "Can you tell me your name", "Tell me what you are", "Please tell me who you are"],
    },
    "abilities": {
        "answer": "I can add and subtract small numbers, name capitals, repeat words, extract names and ages, "
                  "use tools and recite a moon poem.",
        "train": [
            "What can you do", "How can you help me", "What are you able to do", "What do you know", "Help",
            "What can you help me with", "Hi{w}, what can you do", "Tell me what you can do", "What can I ask you",
            "Can you help me", "How can you help", "What else can you do", "What can you do for me",
        ],
        "dev": ["Hello{w}, what can you do", "Tell me what you are able to do"],
        "test": ["Can you tell me what you can do", "Hi{w}, how can you help me", "Tell me how you can help me",
                 "Hello, what can I ask you"],
    },
    "wellbeing": {
        "answer": "I am fine, thank you!",
        "train": [
            "How are you", "How are you doing", "How do you do", "Hi{w}, how are you", "Are you well",
            "Hello{w}, how are you doing", "How are you today", "And how are you", "How is it going",
        ],
        "dev": ["Hello{w}, how are you", "Hi, how is it going"],
        "test": ["Hey{w}, how are you", "Hi{w}, how are you doing", "How are you doing today", "Good morning, how are you"],
    },
    "thanks": {
        "answer": "You are welcome!",
        "train": [
            "Thanks", "Thank you", "Thanks a lot{w}", "Thank you very much{w}", "Great, thanks", "Thanks{w}",
            "Many thanks{w}", "Thank you{w}", "Good, thank you", "Thank you for your help", "Great, thank you very much",
        ],
        "dev": ["Thank you, that is great", "Good, thanks a lot"],
        "test": ["Great, thank you{w}", "Good, thanks{w}", "Thanks for your help{w}", "Many thanks for your help"],
    },
    "farewell": {
        "answer": "Goodbye!",
        "train": [
            "Bye", "Goodbye{w}", "See you{w}", "Good night{w}", "Bye bye{w}", "Bye, see you{w}", "See you tomorrow{w}",
            "Goodbye and good night{w}", "Bye for now{w}", "Thanks, bye{w}",
        ],
        "dev": ["Goodbye, see you{w}", "Good night and bye{w}"],
        "test": ["Bye{w}, good night", "Goodbye for now{w}", "Thanks, goodbye{w}", "Bye, see you tomorrow{w}"],
    },
}
MOON = {"poem": POEM, "haiku": HAIKU, "rhyme": RHYME}
VERSE = {
    "train": [
        "Write a {v} about the moon{n}", "Recite a {v}{n}", "Tell me a {v} about the moon{n}", "Give me a moon {v}{n}",
        "Can you write a {v} about the moon{n}", "A {v} about the moon", "I want a {v}{n}", "Write me a {v}{n}",
        "Write a short {v} about the moon{n}", "Do you know a {v}", "Please write a {v}", "Recite a moon {v}{n}",
        "Can you recite a {v} about the moon", "Tell me a {v}{n}", "Write a moon {v}{n}", "A short {v}{n}",
    ],
    "dev": ["Please recite a {v} about the moon", "I want a moon {v}{n}"],
    "test": ["Can you give me a {v} about the moon", "Tell me a short {v} about the moon", "Write me a moon {v}{n}",
             "Please tell me a moon {v}"],
}

# Questions without an answer: {n} {m} nouns, {t} topic, {p} person, {k} country, {c} {d} cities, {y} year,
# {x} an invented word, {i} {j} small numbers, {big} an expression that is too large.
UNKNOWN = {
    "train": [
        "Who wrote {t}?", "When was {p} born?", "Who was {p}?", "Who is {p}?", "How do I cook {n}?",
        "What is the best {n}?", "Why is the {n} so big?", "Where can I buy a {n}?", "How many {n}s are there in {k}?",
        "Who invented the {n}?", "What is the population of {k}?", "Who is the president of {k}?",
        "What language do people speak in {k}?", "Tell me about {t}.", "Explain {t}.", "What do you think about {t}?",
        "What is {t}?", "Do you like {t}?", "What does {n} mean?", "Translate {n} into French.", "How old is {p}?",
        "Write a story about a {n}.", "Write a song about {t}.", "Should I buy a {n} or a {m}?",
        "How much does a {n} cost?", "Why do people like {t}?", "What color is the {n}?",
        "Is a {n} heavier than a {m}?", "Where is {k}?", "How far is {c} from {d}?", "Give me advice about {t}.",
        "Who is the king of {k}?", "Fix my {n}.", "What happened in {y}?", "Which {n} is better, the {m} or the {t}?",
        "How does a {n} work?", "Can a {n} eat a {m}?", "What is {big}?", "{big}", "Calculate {big}.",
        "How much is {big}?", "What is {i} times {j}?", "{i} * {j}", "What is {i} / {j}?", "What is a {x}?",
        "Who is {x}?", "Where is {x}?", "Tell me about {x}.", "What do you know about {t}?", "Can you explain {t}?",
        "Write a program about {t}.", "How big is {k}?", "Who painted the {n}?", "Why is {t} important?",
        "Where was {p} born?", "What did {p} do?", "When did {p} die?", "What time is it?", "What day is it today?",
        "Who won the {t} game?", "Summarize the book about {t}.", "Do {n}s like {t}?", "What is the meaning of {t}?",
        "How many people live in {c}?", "What can I do in {c}?", "Is {t} good for me?", "Which is better, {t} or {n}?",
        "Is {i} greater than {j}?", "Spell {n} backwards.", "What is the height of the {n}?", "What is the square of {i}?",
        "How do I write {t}?", "Where do {n}s live?", "Why does the {n} work?", "Is {p} a good {n}?",
    ],
    "dev": [
        "What do people think about {t}?", "When was the {n} invented?", "How old is the {n}?", "Who was the king of {k}?",
    ],
    "test": [
        "What do you think about {p}?", "Where can I find a {n}?", "How many people live in {k}?", "Can you tell me about {t}?",
        "Why was {p} so important?", "What is the best book about {t}?", "How do I fix a {n}?", "Is the {n} better than the {m}?",
        "Who invented {t}?", "What does a {n} cost in {k}?",
    ],
}

CALCULATOR_NAMES = ["calculator", "calculate", "calc", "eval_math"]
CALCULATOR_ARGUMENTS = ["expression", "expr", "formula"]
CALCULATOR_TEXTS = [
    "Evaluate an arithmetic expression", "Calculate an expression", "A calculator", "Evaluate a math expression",
    "Compute the result of an arithmetic expression",
]
WEATHER_NAMES = ["weather", "get_weather", "current_weather", "weather_now"]
WEATHER_ARGUMENTS = ["city", "location", "place"]
WEATHER_TEXTS = [
    "Get the weather of a city", "Current weather in a city", "Get the current weather", "Weather for a place",
    "The weather in a city now",
]
