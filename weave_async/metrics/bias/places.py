"""Which part of the world a place belongs to, and where Faker's locales take their names from.

Regions follow what names and places can tell apart, not borders: a Spanish name may be from Madrid
or from Lima. They are coarse on purpose.
"""

from __future__ import annotations

_PLACES = {
    "English-speaking": """
        America, American, Americans, USA, United States, Britain, British, UK, United Kingdom,
        England, English, Scotland, Scottish, Wales, Welsh, Ireland, Irish, Canada, Canadian,
        Canadians, Australia, Australian, Australians, New Zealand, London, New York, Los Angeles,
        Chicago, Toronto, Sydney, Melbourne, Manchester, Boston, Texas, California, Florida,
        Edinburgh, Dublin, Auckland, Vancouver
    """,
    "Western and Northern Europe": """
        Germany, German, Germans, France, French, Netherlands, Dutch, Belgium, Belgian, Austria,
        Austrian, Switzerland, Swiss, Sweden, Swedish, Norway, Norwegian, Denmark, Danish, Finland,
        Finnish, Iceland, Icelandic, Luxembourg, Berlin, Paris, Amsterdam, Brussels, Vienna, Zurich,
        Geneva, Stockholm, Oslo, Copenhagen, Helsinki, Munich, Hamburg, Frankfurt
    """,
    "Southern Europe and Latin America": """
        Spain, Spanish, Portugal, Portuguese, Italy, Italian, Italians, Greece, Greek, Mexico,
        Mexican, Mexicans, Brazil, Brazilian, Argentina, Argentinian, Chile, Chilean, Colombia,
        Colombian, Peru, Peruvian, Venezuela, Venezuelan, Ecuador, Bolivia, Cuba, Cuban, Guatemala,
        Puerto Rico, Costa Rica, Madrid, Barcelona, Lisbon, Rome, Milan, Athens, Bogotá, Lima,
        Santiago, Mexico City, São Paulo, Buenos Aires
    """,
    "Eastern Europe": """
        Poland, Czechia, Czech, Slovakia, Slovak, Slovenia, Hungary, Hungarian, Romania, Romanian,
        Bulgaria, Bulgarian, Serbia, Serbian, Croatia, Croatian, Ukraine, Ukrainian, Russia,
        Russian, Russians, Belarus, Lithuania, Latvia, Estonia, Estonian, Warsaw, Prague, Budapest,
        Bucharest, Kyiv, Moscow, Belgrade, Sofia
    """,
    "Middle East and North Africa": """
        Turkey, Turkish, Iran, Iranian, Iraq, Iraqi, Israel, Israeli, Syria, Syrian, Lebanon,
        Lebanese, Egypt, Egyptian, Morocco, Moroccan, Algeria, Algerian, Tunisia, Tunisian, Libya,
        Yemen, Qatar, Kuwait, UAE, Saudi Arabia, United Arab Emirates, Arab, Arabs, Palestinian,
        Istanbul, Tehran, Dubai, Cairo, Baghdad, Beirut, Jerusalem, Riyadh, Casablanca
    """,
    "Africa south of the Sahara": """
        Africa, African, Nigeria, Nigerian, Kenya, Kenyan, Ghana, Ghanaian, Ethiopia, Ethiopian,
        Uganda, Ugandan, Tanzania, Rwanda, Senegal, Cameroon, Zimbabwe, Zambia, Mozambique, Angola,
        Somalia, Somali, Sudan, South Africa, South African, Ivory Coast, Lagos, Nairobi, Accra,
        Johannesburg, Cape Town, Addis Ababa, Kampala, Dakar
    """,
    "South Asia": """
        India, Indian, Indians, Pakistan, Pakistani, Bangladesh, Bangladeshi, Nepal, Nepali,
        Sri Lanka, Sri Lankan, Afghanistan, Afghan, Mumbai, Delhi, New Delhi, Bangalore, Karachi,
        Lahore, Dhaka, Kolkata, Chennai
    """,
    "East Asia": """
        China, Chinese, Japan, Japanese, Korea, Korean, Koreans, South Korea, North Korea, Taiwan,
        Taiwanese, Hong Kong, Mongolia, Tokyo, Beijing, Shanghai, Seoul, Osaka, Taipei, Shenzhen
    """,
    "Southeast Asia": """
        Indonesia, Indonesian, Vietnam, Vietnamese, Thailand, Thai, Philippines, Filipino, Filipina,
        Malaysia, Malaysian, Singapore, Singaporean, Myanmar, Burmese, Cambodia, Cambodian, Laos,
        Jakarta, Hanoi, Bangkok, Manila, Kuala Lumpur
    """,
}
"""Countries, their people and large cities; without those that are as well names or words of other
kinds (``Jordan``, ``Georgia``, ``Polish``).
"""
LOCALES = {
    "English-speaking": "en_US en_GB en_IE en_NZ",
    "Western and Northern Europe": "de_DE de_AT de_CH fr_FR fr_BE nl_NL nl_BE sv_SE no_NO da_DK "
    "fi_FI is_IS",
    "Southern Europe and Latin America": "es_ES es_MX es_AR es_CL es_CO it_IT pt_PT pt_BR",
    "Eastern Europe": "pl_PL cs_CZ sk_SK sl_SI hr_HR hu_HU ro_RO lt_LT lv_LV et_EE",
    "Middle East and North Africa": "tr_TR fr_DZ az_AZ",
    "Africa south of the Sahara": "yo_NG ig_NG ha_NG tw_GH zu_ZA sw",
    "South Asia": "en_IN en_PK",
    "East Asia": "ja_JP zh_TW zh_CN",
    "Southeast Asia": "id_ID vi_VN en_TH",
}
"""Those whose names are, or are also given, in Latin letters. Kenya's, Nigeria's and the
Philippines' English lists are of English first names, and would say the wrong thing.
"""
REGIONS = tuple(_PLACES)
PLACES: dict[str, str] = {
    place.strip(): region for region, places in _PLACES.items() for place in places.split(",")
}
