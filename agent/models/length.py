"""Whether a server's refusal says that a conversation is too long for it, whatever its words.

There is no common code. Servers name the context, the prompt, the input or the messages, say that these exceed, are too
long or must be reduced, and give both numbers or none. `says_too_long` recognises these in general, in the languages
that servers speak. What it does not recognise, a probe may prove (`agent.models.diagnosis`).
"""

from __future__ import annotations

import re

__all__ = ["says_too_long"]

# What is too long, what a length is measured in, and how servers say that it is exceeded. Underscores count as spaces.
SUBJECT = (
    r"context|prompts?|inputs?|messages?|conversation|history|chat|requests?|tokens?|sequences?|text|payload|body|content|"
    r"query|length|num ctx|n ctx"
)
TOO = r"too (?:long|large|big|many|much)|too_long"
OVER = (
    r"exceed\w*|(?:longer|larger|greater|bigger|more|higher) than|over(?:flow\w*|ran|run| the)|beyond|above|past the|"
    r"out of (?:range|bounds|context)|(?:does|do|did|will|can)(?: not|n't) fit|no longer fits?|larger|surpass\w*"
)
LIMIT = r"max(?:imum)?|limit\w*|allowed|window|context|length|size|tokens?|supported|capacity|available"
WORDS = re.compile(
    "|".join(
        (
            rf"\b(?:{SUBJECT})\b(?:[^\w.]+\w+){{0,8}}?[^\w.]+(?:{TOO})",
            r"\btoo (?:many|much) (?:\w+ )?(?:tokens|text|characters|messages|input|context|history)",
            rf"\b(?:{SUBJECT})\b[^.;]{{0,80}}?\b(?:{OVER})[^;]{{0,80}}?\b(?:{LIMIT})\b",
            r"\b(?:maximum|max|model(?:'s)?|allowed|configured|available)\b[^.;]{0,40}?"
            r"\b(?:context|prompt|input|sequence|model) ?(?:length|size|window|tokens?|len)\b",
            r"\b(?:reduce|shorten|truncate|trim|decrease|lower|cut|split)\b[^.;]{0,40}"
            r"\b(?:length|size|prompt|input|messages?|context|conversation|history|tokens)\b",
            r"\brange of (?:input|prompt|context) length",
            r"\b(?:context|prompt) ?(?:length|limit|size|window|shift|overflow)|\b(?:maximum|max|full) context\b",
            r"\b(?:inputs?|prompt|sequence|messages?|text)\b[^;]{0,60}\b(?:must (?:be|have|contain|not)|should be|"
            r"at most|no more than|up to|less than|fewer than|<=?)[^;]{0,40}(?:\d|tokens|length)",
            r"\b(?:prompt|input|context|sequence|token)s?(?: \w+)? (?:length|limit|size|count|tokens?|window)\b"
            r"[^;]{0,60}(?:\d|exceed|limit|max|invalid|too|reached|over)",
            r"\bkv ?cache\b[^;]{0,60}\b(?:full|space|room|slot|exceed|fit|large)",
            r"\b(?:could not|failed to) find a (?:free |memory )?(?:kv )?(?:cache )?slot",
            r"\blong(?:er)? than (?:the )?(?:model|context|maximum|window|allowed)",
            r"\b(?:payload|entity|body|content|request)(?: entity)? too large",
        )
    )
)
# The same in other languages: something of a length, and that it is too much.
ABROAD = re.compile(
    r"(?:上下文|输入|輸入|提示|长度|長度|字数|字符|消息|内容|请求|トークン|入力|コンテキスト|"
    r"プロンプト|会話|文字数|토큰|입력|컨텍스트|프롬프트|길이|"
    r"prompt|eingabe|anfrage|kontext|nachricht|invite|entrée|requête|contexte|conversation|entrada|contexto|mensaje|"
    r"mensagem|solicitud|richiesta|contesto|запрос|контекст|ввод|сообщени|промпт|token)"
    r".{0,60}?(?:超过|超過|超出|超限|超长|超長|过长|過長|太长|太長|長すぎ|超え|上限|最大|초과|너무|최대|"
    r"zu lang|zu groß|überschreit|überschritten|trop long|dépass|demasiado larg|excede|super[aeó]|muito long|excedeu|"
    r"ultrapass|troppo lung|слишком|превы|больше)",
    re.DOTALL,
)
# A size, and below it the most that it may be: "Current length is 40000 while limit is 32768".
MEASURE = re.compile(r"\b(?:tokens?|length|len|context|ctx|window|size|characters?|chars|words|bytes|limit|max\w*)\b")
NUMBER = re.compile(r"(?<![\w.-])\d[\d,_]*(?![\w.]*\d)")
LEAST = 64  # a smaller number is a code or a setting, not a length
# Lengths, limits and refusals of other things.
OTHER = re.compile(
    r"tool.?call.?ids?\b|\bcall ids?\b|tool use.{0,12}\bids?\b|\bids?\b.{0,40}\blength\b|function.?name|tool name|"
    r"array too long|\bstop\b.{0,30}\btoo|rate limit|per min|per day|requests per|too many requests|quota|concurren|"
    r"billing|credits?\b|balance|temperature|top p\b|top k\b|\bseed\b|logprobs|"
    r"\bqueue|(?:running|pending|waiting|active|parallel|in.?flight) requests|timed? ?out|deadline|\bseconds\b|"
    r"\b(?:daily|hourly|monthly|weekly)\b|out of memory|\btools?\W+\d|thinking budget"
)
CERTAIN = re.compile(r"context length exceeded|maximum context length|context window")


def says_too_long(message: str, whole: str = "") -> bool:
    """Whether a refusal says that the conversation, not something else, is too long.

    `message` are its words, `whole` is all of it, with codes.
    """
    text, all_of_it = (" ".join(one.lower().replace("_", " ").split()) for one in (message, whole or message))
    if OTHER.search(text):
        return bool(CERTAIN.search(text))
    return bool(WORDS.search(all_of_it) or ABROAD.search(all_of_it) or _two_numbers(text))


def _two_numbers(text: str) -> bool:
    """Whether the text gives a size and a smaller limit of it."""
    sizes = [int(re.sub(r"\D", "", number)) for number in NUMBER.findall(text)]
    sizes = [size for size in sizes if size >= LEAST]
    named = MEASURE.search(text) is not None or not re.search(r"[^\W\d]", text) or re.search(r"\d\s*>=?\s*\d", text)
    return len(set(sizes)) >= 2 and bool(named)
