"""Sentences as people write them to an assistant or a shop, and pairs that say the same."""

from __future__ import annotations

SENTENCES = """
How do I reset the password of my account when I can no longer open my email?
I ordered a blue jacket last week but it has not arrived yet, please help.
Can you tell me what the weather will be like in Paris on 12 March 2024?
My package with order number 48213 was left at the wrong address.
Write a short poem about the sea and the wind in autumn.
The train to Berlin leaves at 10:45 and takes about 4 hours.
We have been waiting for a reply for more than two weeks now.
Is it possible to return shoes that I have worn once?
The app crashes every time I try to upload a photo from my phone.
Please explain how photosynthesis works to a child of 8 years.
She will send the signed contract to the office on Monday morning.
What is the difference between a virus and a bacterium?
Our flight was delayed by 3 hours and nobody told us why.
The recipe says 250 g of flour, 2 eggs and half a litre of milk.
I would like to change the delivery address of my last order.
Could you recommend a good Italian restaurant near the main station?
You should take this medicine twice a day after eating.
My father is 72 years old and he can still run 5 km.
The invoice from January is wrong: it says $1,200 and it should be $950.
They have moved the meeting from Tuesday to Thursday at 3 pm.
Translate the following sentence into French, keeping the polite tone.
He was the first person in our village who had seen the sea.
Does this phone have a slot for a second card?
The room was clean and the staff were friendly, we will come back.
Summarise the attached article in three sentences for a general reader.
I am looking for a laptop under 800 euros with at least 16 GB of memory.
The new law does apply to companies with more than 50 employees.
Your driver will arrive in 15 minutes at the north entrance.
Do you have the same shirt in green, size 42?
If the light is red, the battery must be replaced within 30 days.
My internet connection has been very slow since yesterday evening.
The patient has had a fever of 39.5 °C since Friday.
What are the main causes of the decline of the Roman Empire?
Please cancel my subscription, I am moving abroad next month.
The museum is open from 9 am to 6 pm and admission is free.
I was charged twice for the same order, 35.90 EUR each time.
Can I pay by bank transfer or do I need a credit card?
It was raining when we left the house, so we took the bus.
The temperature in the oven should be 180 degrees for 25 minutes.
Give me five ideas for a birthday present for my sister.
The file is saved under reports/2024/summary.pdf on the shared drive.
You can reach our support team at help@example.com until 8 pm.
The instructions are on https://example.com/setup and they are easy to follow.
He has lived in Madrid for ten years and works as a nurse.
What would happen if the earth was twice as heavy?
The printer is making a strange noise and the paper is stuck.
I have read the terms and I would agree to them.
Should I water these plants every day or once a week?
The hotel was 20 minutes from the beach, as the website had said.
Our team could finish the project before the end of December.
Are there any vegetarian dishes on the menu for tonight?
The customer is right: the discount of 15% was promised on 3 May.
I think that the second chapter is better than the first one.
When did the war between the two countries begin?
The dog had eaten the chocolate before we were able to stop it.
We need 40 chairs and 8 tables for the event on 2024-06-21.
A friend of mine has told me that your service is very good.
Please check whether the payment of 1,499.00 USD has come in.
The screen of my watch is broken and the warranty has expired.
Learning a language is easier when you can speak it every day.
""".strip().splitlines()

PARAPHRASES = [
    ("How do I reset the password of my account?",
     "What can I do to get a new password for my account?"),
    ("I ordered a blue jacket last week but it has not arrived yet.",
     "The blue jacket I bought last week still hasn't been delivered."),
    ("Can you recommend a good Italian restaurant near the station?",
     "Do you know a nice Italian place to eat close to the train station?"),
    ("The application crashes whenever I try to upload a photo.",
     "Every time I attempt to upload a picture, the app crashes."),
    ("Please cancel my subscription as soon as possible.",
     "I'd like my subscription to be cancelled right away, please."),
    ("What is the capital of France?",
     "Which city is the capital of France?"),
    ("He bought a new car yesterday.",
     "Yesterday he purchased a new automobile."),
    ("My phone battery drains very quickly.",
     "The battery of my phone runs out really fast."),
    ("Explain how photosynthesis works.",
     "Describe the process of photosynthesis."),
    ("The meeting was postponed until next Monday.",
     "They moved the meeting to next Monday."),
    ("Write a poem about autumn.",
     "Compose some verses on the fall season."),
    ("gimme a list of cheap hotels in rome",
     "Please provide a list of affordable hotels in Rome."),
    ("yo whats up with my order lol",
     "Could you please tell me the status of my order?"),
    ("Where can I find my invoice?",
     "I am looking for my bill, where is it?"),
]  # fmt: skip
