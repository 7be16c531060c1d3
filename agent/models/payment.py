"""Whether a server's refusal says that it wants to be paid, whatever its status.

Servers refuse for lack of money with 400, 401, 402, 403, 429 and others, in words such as credit, balance, arrears or
quota. A limit of requests in a time is none of these, and neither is a length.
"""

from __future__ import annotations

import re

__all__ = ["says_unpaid"]

# Hyphens and underscores count as spaces.
LACK = r"(?:insufficient|not enough|no|low|lack of|negative|zero|exhausted|depleted|used up|out of|too low|sufficient)"
GONE = (
    r"(?:insufficient|not enough|not sufficient|(?:too )?low|exhausted|depleted|used up|exceeded|negative|expired|"
    r"r[au]n out|reached|hit|ended)"
)
CAP = r"(?:spend(?:ing)?|budget|usage|credits?|monthly|billing|key|hard) (?:limits?|caps?|quota)"
BILL = r"(?:invoices?|bills?|balance|payments?)"


def _lacks(means: str) -> tuple[str, ...]:
    """The ways to say that there is none left of these means."""
    return (
        rf"\b{LACK} (?:\w+ ){{0,2}}?{means}\b",
        rf"\b{means}\b[^.;]{{0,40}}?\b{GONE}\b",
        rf"\bexceed(?:s|ed|ing)? (?:\w+ ){{0,3}}?{means}\b",
    )


MONEY = re.compile(
    "|".join(
        (
            *_lacks(r"(?:credits?|funds?|balance|money|budget)"),
            rf"\b{CAP}\b[^.;]{{0,30}}?\b{GONE}\b",
            rf"\b(?:reached|exceeded|hit|over) (?:\w+ ){{0,3}}?{CAP}\b",
            r"\bexceededbudget\b|\bmax budget\b|\bcan only afford\b|\barrear|\boverdue\b|\bpast due\b|\bnon ?payment\b",
            rf"\boutstanding {BILL}\b|\bunpaid\b|"
            r"\bpayment (?:\w+ ){0,3}?(?:required|needed|failed|declined)\b",
            r"\b(?:top up|recharge)\b|\b(?:add|buy|purchase) (?:\w+ ){0,2}?credits?\b",
            r"\bbilling (?:\w+ ){0,3}?(?:active|enabled|disabled|inactive|suspended|set up)\b",
            r"\b(?:enable|check|update|activate|set up) (?:\w+ ){0,3}?billing\b",
            r"\baccount\b[^.;]{0,30}\bgood standing\b|\b(?:trial|subscription|plan) (?:has |is )?expired\b",
            r"\bfree (?:tier|trial|quota|credits?)\b[^.;]{0,60}\b(?:exhausted|used up|expired|ended|exceeded)\b",
            r"\brequires? (?:an? )?(?:paid|active) (?:plan|subscription|account|tier)\b",
            r"余额|欠费|充值|额度(?:不足|已)|残高|クレジット(?:不足|が)|잔액|크레딧|guthaben|saldo|"
            r"crédits? (?:insuffisant|épuisé)|недостаточно средств",
        )
    )
)
QUOTA = re.compile("|".join((*_lacks("quota"), r"配额(?:不足|已)")))
# A quota of what is asked for in a time, and a length.
OTHER = re.compile(
    r"rate ?limit|rate ?quota|too many requests|per (?:second|min|minute|hour)\b|/ ?(?:s|min|minute|hour)\b|throttl|"
    r"hourly|\b(?:try again|retry) in \d+(?:\.\d+)? ?(?:ms|s|sec\w*|min\w*)\b|\b(?:token|thinking) budget|"
    r"concurren|context (?:length|window)|速率|频率|并发"
)
HEALS = (429, 503)  # with which a quota is one of a time


def says_unpaid(status: int, message: str, whole: str = "") -> bool:
    """Whether a refusal is about money or a quota. `message` are its words, `whole` is all of it, with codes."""
    text = " ".join(re.sub(r"[_-]", " ", whole or message).lower().split())
    if OTHER.search(text):
        return False
    return bool(MONEY.search(text) or (status not in HEALS and QUOTA.search(text)))
