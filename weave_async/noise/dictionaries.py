"""Common English words in Spanish, German and French: our own list, one word for one.

No negators, numbers or days, and nothing that would be one of these in the other language.
"""

from __future__ import annotations

_WORDS = """
and y und et
or o oder ou
but pero aber mais
because porque weil parce_que
with con mit avec
for para für pour
from de von de
also también auch aussi
very muy sehr très
more más mehr plus
always siempre immer toujours
here aquí hier ici
there allí dort là
now ahora jetzt maintenant
then entonces dann alors
when cuando wenn quand
where dónde wo où
why porqué warum pourquoi
how cómo wie comment
what qué was quoi
if si wenn si
this este dieses ce
my mi mein mon
your tu dein ton
our nuestro unser notre
good bueno gut bon
bad malo schlecht mauvais
big grande groß grand
small pequeño klein petit
new nuevo neu nouveau
old viejo alt vieux
important importante wichtig important
possible posible möglich possible
easy fácil einfach facile
difficult difícil schwierig difficile
fast rápido schnell rapide
slow lento langsam lent
true cierto wahr vrai
same mismo gleiche même
other otro andere autre
house casa Haus maison
home casa Zuhause maison
car coche Auto voiture
city ciudad Stadt ville
country país Land pays
street calle Straße rue
school escuela Schule école
job trabajo Job emploi
money dinero Geld argent
people gente Leute gens
friend amigo Freund ami
friends amigos Freunde amis
family familia Familie famille
mother madre Mutter mère
father padre Vater père
brother hermano Bruder frère
sister hermana Schwester sœur
child niño Kind enfant
children niños Kinder enfants
woman mujer Frau femme
water agua Wasser eau
food comida Essen nourriture
bread pan Brot pain
coffee café Kaffee café
tea té Tee thé
book libro Buch livre
books libros Bücher livres
letter carta Brief lettre
word palabra Wort mot
words palabras Wörter mots
question pregunta Frage question
questions preguntas Fragen questions
problem problema Problem problème
idea idea Idee idée
example ejemplo Beispiel exemple
reason razón Grund raison
way manera Weise façon
world mundo Welt monde
life vida Leben vie
year año Jahr année
month mes Monat mois
week semana Woche semaine
day día Tag jour
night noche Nacht nuit
morning mañana Morgen matin
evening tarde Abend soir
hour hora Stunde heure
minute minuto Minute minute
package paquete Paket colis
account cuenta Konto compte
password contraseña Passwort mot_de_passe
address dirección Adresse adresse
phone teléfono Telefon téléphone
computer ordenador Computer ordinateur
price precio Preis prix
store tienda Laden magasin
shop tienda Laden boutique
please por_favor bitte s'il_vous_plaît
thanks gracias danke merci
hello hola hallo bonjour
hi hola hallo salut
sorry perdón Entschuldigung désolé
okay vale okay d'accord
yes sí ja oui
maybe quizás vielleicht peut-être
really realmente wirklich vraiment
only solo nur seulement
still todavía noch encore
already ya schon déjà
soon pronto bald bientôt
later luego später plus_tard
again otra_vez wieder encore
often a_menudo oft souvent
together juntos zusammen ensemble
almost casi fast presque
between entre zwischen entre
after después nach après
before antes vor avant
about sobre über sur
under bajo unter sous
against contra gegen contre
during durante während pendant
something algo etwas quelque_chose
someone alguien jemand quelqu'un
everything todo alles tout
many muchos viele beaucoup
some algunos einige quelques
music música Musik musique
door puerta Tür porte
window ventana Fenster fenêtre
table mesa Tisch table
room habitación Zimmer chambre
dog perro Hund chien
cat gato Katze chat
weather tiempo Wetter météo
language idioma Sprache langue
doctor médico Arzt médecin
teacher profesor Lehrer professeur
student estudiante Student étudiant
"""
LANGUAGES = ("es", "de", "fr")


def _dictionary(column: int) -> dict[str, str]:
    rows = (line.split() for line in _WORDS.strip().splitlines())
    return {row[0]: row[column].replace("_", " ") for row in rows}


DICTIONARIES = {language: _dictionary(at) for at, language in enumerate(LANGUAGES, 1)}
