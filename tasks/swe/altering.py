"""What a mixed test file calls at run time, written into it as text: `helpers`, which needs nothing but itself.

Tests run with the Python that their repository needs, so this is Python 3.6. Whatever it uses of the language's
built-ins is bound before the code under test is imported, and true and false forms do the same work, so code that takes
built-ins away breaks both. Values of built-in types are handed on as new objects in both, so how often something is
held tells nothing. No method of a value is called but those of exactly the built-in types: what is compared is
compared once, by the test.
"""
# mypy: ignore-errors

__all__ = [
    "AT_THE_END",
    "EDITS",
    "EVERY",
    "FROM",
    "LEFT",
    "RIGHT",
    "SHARES",
    "TRUE",
    "WIDE_LEFT",
    "WIDE_RIGHT",
    "helpers",
]

TRUE, RIGHT, LEFT, WIDE_RIGHT, WIDE_LEFT, AT_THE_END = range(6)
"""The forms of a copy. A false one replaces a value on one side of one assertion: by one of the same shape, or, where
the known solution does not fail that, by one far from it; or it fails at its end, whatever it does."""

EVERY = -1
"""The place of a false form that alters at every assertion. Places count the assertions that a copy evaluates, from 0.
Places below this are shares of what the first true copy of the same test evaluated: -2 - j is j sixteenths of it, or j
in turn where it is fewer than sixteen."""

FROM = 1 << 20
"""FROM + n is the place of a false form that alters at each assertion from place n on."""

SHARES = 16
EDITS = 7
"""The near values that stand for one value. Which of them a copy takes follows from its number."""


# fmt: off
def helpers(path, str=str, bytes=bytes, bool=bool, int=int, float=float, complex=complex, list=list, tuple=tuple,
            dict=dict, set=set, frozenset=frozenset, type=type, len=len, range=range, repr=repr, chr=chr, ord=ord,
            min=min, max=max, any=any, all=all, sum=sum, zip=zip, abs=abs, enumerate=enumerate, id=id, object=object,
            isinstance=isinstance, issubclass=issubclass, getattr=getattr, Exception=Exception, eval=eval, open=open,
            AssertionError=AssertionError, OSError=OSError, slice=slice, BaseException=BaseException,
            AttributeError=AttributeError):
    # fmt: on
    """The helpers of one mixed test file. The file at `path` says what each copy is, and is removed.

    It holds, for each copy's number, its form, its place, what starts its chance and the number of the first copy of
    its test; the constants of the tests; and a path, "" for none, of a file that gets a line at the end of each copy.
    """
    import collections
    import datetime
    import decimal as decimals
    import fractions
    import functools
    import os
    import pathlib
    import sys
    import types
    import uuid

    partial, slot_type = functools.partial, types.MemberDescriptorType

    with open(path) as file:
        copies, constants, trace = eval(file.read())
    try:
        os.remove(path)
    except OSError:
        pass  # the tests run as another user
    chance = [0]
    number, form, place, seed, count = 0, TRUE, EVERY, 0, 0  # of the copy that runs
    counts = {}
    ours = dict([(id(each), each) for each in constants])

    def restart():
        """Begin the chance of one assertion anew: it is the same in all copies of a test."""
        chance[0] = (seed + count * 0xD1B54A32D192ED03) % (1 << 64)
        draw(2)

    def edits():
        """Which of three changes of a value the running copy makes, at least one."""
        return [(1 + number % EDITS) >> step & 1 for step in range(3)]

    def draw(count):
        chance[0] = (chance[0] * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return (chance[0] >> 33) % count

    name_of = type.__dict__["__name__"].__get__  # a class may have a `__name__` of its own making

    def foreign(value):
        return type(name_of(type(value)), (), {})()

    def subclass(kind):
        """A class that no object is of, like this one in all else; None where there can be none."""
        try:
            return type(kind)(name_of(kind), (kind,), {"__module__": kind.__module__, "__qualname__": name_of(kind)})
        except Exception:
            return None

    line_of, names_in = type.__dict__["__mro__"].__get__, type.__dict__["__dict__"].__get__

    def contents(value, other):
        """What an object holds, in its attributes and its slots, each with what puts a value there in another one."""
        found = []
        for each in line_of(type(value)):
            for slot in names_in(each).values():
                if type(slot) is slot_type:
                    try:
                        found.append((partial(slot.__set__, other), slot.__get__(value)))
                    except AttributeError:
                        pass  # nothing was put there
        try:
            named = object.__getattribute__(value, "__dict__")
        except AttributeError:
            return found
        return found + [(partial(object.__setattr__, other, name), item) for name, item in named.items()]

    def twin(value, change, depth=0):
        """Another object of a class of its own with the same content, or one thing in it changed; None if none."""
        kind = type(value)
        if any(["__del__" in names_in(each) for each in line_of(kind)]):
            return None  # the end of the other one would close what the value holds
        try:
            for base, plain, make in bases:
                if isinstance(value, base):
                    content = plain(value)
                    content = shaped(content, False) if change else content
                    return None if content is None else make(kind, content, value)
            other = object.__new__(kind)
            left = change
            for put, item in contents(value, other):
                changed = shaped(item, False) if left else None
                if left and changed is None and depth < 2 and type(item) not in scalars:
                    changed = twin(item, True, depth + 1)
                put(item if changed is None else changed)
                left = left and changed is None
            return None if left else other
        except Exception:
            return None

    def new(base, fill=None):
        """What makes an object of a class that is `base` or derived from it, filled by this method of `base`."""

        def make(kind, content, value):
            if fill is None:
                return base.__new__(kind, content)
            made = base.__new__(kind)
            fill(made, content)
            return made

        return make

    date, moment, span = datetime.date, datetime.datetime, datetime.timedelta
    ordered, queue = collections.OrderedDict, collections.deque
    # What is written in a value of each of these classes, and what makes another one of it.
    bases = (
        (str, str.__str__, new(str)),
        (bytes, lambda value: bytes.__getitem__(value, slice(None)), new(bytes)),
        (int, int.__int__, new(int)),
        (float, float.__float__, new(float)),
        (tuple, lambda value: tuple.__getitem__(value, slice(None)), new(tuple)),
        (list, lambda value: list.__getitem__(value, slice(None)), new(list, list.extend)),
        (ordered, lambda value: dict(ordered.items(value)), new(ordered, ordered.update)),
        (dict, lambda value: dict(dict.items(value)), new(dict, dict.update)),
        (set, lambda value: set(set.__iter__(value)), new(set, set.update)),
        (frozenset, lambda value: frozenset(frozenset.__iter__(value)), new(frozenset)),
        (queue, lambda value: list(queue.__iter__(value)), new(queue, queue.extend)),
        (range, lambda value: value.start, lambda kind, start, value: range(start, value.stop, value.step)),
        (decimals.Decimal, decimals.Decimal.__str__, new(decimals.Decimal)),
        (
            fractions.Fraction,
            lambda value: value.numerator,
            lambda kind, above, value: fractions.Fraction.__new__(kind, above, value.denominator),
        ),
        (
            moment,
            moment.toordinal,
            lambda kind, day, value: moment.combine(date.fromordinal(day), moment.timetz(value)),
        ),
        (date, date.toordinal, lambda kind, day, value: date.fromordinal(day)),
        (datetime.time, lambda value: value.second, lambda kind, second, value: value.replace(second=second % 60)),
        (span, lambda value: value.days, lambda kind, days, value: span(days, value.seconds, value.microseconds)),
        (pathlib.PurePath, pathlib.PurePath.__str__, lambda kind, text, value: kind(text)),
        (uuid.UUID, uuid.UUID.__int__, lambda kind, whole, value: kind(int=whole)),
    )
    standard = frozenset([base for base, _, _ in bases])

    def letter(old):
        for first, last in ("09", "az", "AZ"):
            if first <= old <= last:
                size = ord(last) - ord(first) + 1
                return chr(ord(first) + (ord(old) - ord(first) + 1 + draw(size - 1)) % size)
        code = ord(old)
        return chr(code + 1 if code in (0, 9, 10, 13, 32) or code % 2 == 0 else code - 1)

    def text(value):
        if not value:
            return "x"
        places = [i for i in range(len(value)) if value[i].isalnum() and value[i] < "\x7f"] or range(len(value))
        changed, at, made = list(value), draw(len(places)), edits()
        gap = max(1, len(places) // 3)
        if not any(made[: len(places)]):
            made = [1, 0, 0]
        for step in range(min(3, len(places))):
            spot = places[(at + step * gap) % len(places)]
            other = letter(value[spot])
            if made[step]:
                changed[spot] = other
        return "".join(changed)

    def whole(value):
        up = 1 - 2 * draw(2)
        signs = [up, -up, 1 - 2 * draw(2)]  # some of the seven are larger, and some smaller
        return value + sum([made * sign << step for step, (made, sign) in enumerate(zip(edits(), signs))])

    def decimal(value):
        # The same digits but for one of the first three.
        shown = repr(value)
        if shown in ("inf", "-inf", "nan"):
            return 1.5
        if value == 0:
            return 0.25
        digits = [i for i in range(len(shown.split("e")[0])) if shown[i] in "0123456789"]
        while len(digits) > 1 and shown[digits[0]] == "0":
            digits = digits[1:]
        changed, made = list(shown), edits()
        if not any(made[: len(digits)]):
            made = [1, 0, 0]
        for step, place in enumerate(digits[:3]):
            other = "123456789"[(int(shown[place]) + draw(8)) % 9]
            if made[step]:
                changed[place] = other
        return float("".join(changed))

    scalars = (str, bytes, bool, int, float, complex, type(None))

    def odd(value, depth):
        """Whether something in it may have a comparison of its own."""
        kind = type(value)
        if kind in scalars or depth > 4:
            return False
        if kind in (list, tuple, set, frozenset):
            return any([odd(item, depth + 1) for item in list(value)[:32]])
        if kind is dict:
            return any([odd(item, depth + 1) for item in list(value.values())[:32]])
        return True

    def places(count, beside):
        """The places of `count` items in the order in which they are tried: where an odd one stands beside, first."""
        first = draw(count)
        order = [(first + step) % count for step in range(count)]
        return [i for i in order if odd(beside[i], 0)] + [i for i in order if not odd(beside[i], 0)]

    def shaped(value, wide, beside=None, depth=0):
        """Another value of the same built-in type, or None. `beside` is what it is compared with."""
        kind = type(value)
        if kind is str:
            return value + "~" + str(draw(1 << 30)) if wide else text(value)
        if kind is bytes:
            return shaped(value.decode("latin-1"), wide).encode("latin-1", "replace")
        if kind is bool:
            return not value
        if kind is int:
            return value * 3 + 7919 if wide else whole(value)
        if kind is float:
            return value * 3 + 7919 if wide else decimal(value)
        if kind is complex:
            return value * 3 + 7919 if wide else complex(decimal(value.real), value.imag)
        if kind not in (list, tuple, dict, set, frozenset):
            return twin(value, True) if kind in standard else None
        if depth > 3:
            return None
        if not value:
            return {0: 0} if kind is dict else kind([0])
        items = list(value.values()) if kind is dict else list(value)
        others = [None] * len(items)
        if type(beside) is kind and kind in (list, tuple):
            others = (list(beside) + others)[: len(items)]
        elif type(beside) is dict and kind is dict:
            others = [beside.get(key) if type(key) in scalars else None for key in value]
        for place in places(min(len(items), 32), others):
            other = shaped(items[place], wide, others[place], depth + 1)
            if other is not None:
                items[place] = other
                return dict(zip(value, items)) if kind is dict else kind(items)
        return None

    def fresh(value, depth=0):
        """The same value as a new object, in its items too, as an altered value is one."""
        kind = type(value)
        if kind is str and len(value) < 4096:
            return "".join(list(value))
        if kind is bytes and len(value) < 4096:
            return bytes(list(value))
        if kind in (int, float) and value == value:  # what is not a number equals nothing but itself
            return value + 1 - 1 if kind is int else value * 1.0
        if depth > 3 or kind not in (list, tuple, dict, set, frozenset) or len(value) > 4096:
            return value
        if kind is dict:
            return dict([(fresh(key, depth + 1), fresh(item, depth + 1)) for key, item in value.items()])
        return kind([fresh(item, depth + 1) for item in value])

    def told(value, depth=0):
        """Whether a value is a constant of the tests, or built of nothing else."""
        kind = type(value)
        if kind in (list, tuple, set, frozenset) and depth < 4 and len(value) < 4096:
            return len(value) > 0 and all([told(item, depth + 1) for item in value])
        if kind is dict and depth < 4 and len(value) < 4096:
            return len(value) > 0 and all([told(item, depth + 1) for item in value.values()])
        return kind in scalars and id(value) in ours

    def enter(copy):
        nonlocal number, form, place, seed, count
        number, count = copy, 0
        form, place, seed, first = copies.get(copy, (TRUE, EVERY, 0, copy))
        if place < EVERY:
            share, total = EVERY - 1 - place, counts.get(first, 0)
            place = share % max(total, 1) if total <= SHARES else share * total // SHARES

    def leave(fail=None):
        """End a copy. `fail` is what the test itself fails by, where it has such a call."""
        nonlocal form
        ended, form = form, TRUE
        fault = sys.exc_info()[0]
        if ended == TRUE:
            counts[number] = max(count, counts.get(number, 0))
        if trace:
            with open(trace, "a") as file:
                file.write(f"{number} {place} {count} {'' if fault is None else name_of(fault)}\n")
        if ended == AT_THE_END and fail is not None:
            fail("")
        elif ended == AT_THE_END:
            raise AssertionError
        if ended != TRUE and fault is not None and is_for_runner(fault):
            raise AssertionError  # a false copy fails, and neither ends the run nor is skipped

    def turn():
        """The form of the assertion that is evaluated now.

        What is drawn for it follows from the test's start and the place alone, whatever the code under test answered
        before.
        """
        nonlocal count
        count += 1
        restart()
        now = place in (EVERY, count - 1) or FROM <= place < FROM + count
        return form if form != AT_THE_END and now else TRUE

    def sides(left, right, tolerant=False):
        """Both sides as the current copy compares them. A near value might lie within a tolerance."""
        now, wide = turn(), tolerant or form > LEFT
        others = [shaped(left, wide, right)]
        restart()
        others += [shaped(right, wide, left)]
        unfit = [other is None or odd(own, 0) for other, own in zip(others, (left, right))]
        strangers = [twin(own, True) if type(own) not in scalars else None for own in (left, right)]
        known = [told(left), told(right)]
        side = 0 if now in (LEFT, WIDE_LEFT) else 1
        # The side that is plain, where just one is: it is the other that may have a comparison of its own.
        # Else the one that the test itself tells: code under test knows its own results, and sees one exchanged.
        if (not unfit[1 - side] and known[1 - side] and not known[side]) or (unfit[side] and not unfit[1 - side]):
            side = 1 - side
        others = [fresh(other) for other in others]
        left, right = fresh(left), fresh(right)
        if now == TRUE:
            return left, right
        other = others[side]
        if other is None:
            other = strangers[side] or foreign((left, right)[side])
        return (left, other) if side else (other, right)

    def differing(left, right):
        """Two sides that must differ, which are alike in a false copy."""
        now = turn()
        same = [fresh(own) if type(own) in scalars else twin(own, False) for own in (left, right)]
        same = [own if other is None else other for own, other in zip((left, right), same)]
        left, right = fresh(left), fresh(right)
        if now == TRUE:
            return left, right
        return (same[1], right) if now in (LEFT, WIDE_LEFT) else (left, same[0])

    def ranked(below, left, right):
        """Two sides of which the left one must be below the right one, or above it."""
        now, numbers = turn(), (int, float)
        left, right = fresh(left), fresh(right)
        if now == TRUE:
            return left, right
        side = 0 if now in (LEFT, WIDE_LEFT) else 1
        if type((left, right)[side]) not in numbers:
            side = 1 - side
        own, beside = (left, right)[side], (left, right)[1 - side]
        if type(own) not in numbers:
            return right, left
        step = 1 + number % 7 + (0 if type(beside) in numbers else 3 * abs(own))
        moved = (beside if type(beside) in numbers else own) + (step if below == (side == 0) else -step)
        return (left, moved) if side else (moved, right)

    def held(item, holder):
        """An item and its holder as the current copy looks for it."""
        now = turn()
        if type(holder) is range and len(holder) < 4096:
            holder = list(holder)
        looked_up = type(holder) in (list, tuple, dict, set, frozenset, str, bytes)
        plain = looked_up and type(item) in (str, bytes, int, float)
        other, others = shaped(item, form > LEFT), elsewhere(holder) if looked_up else None
        for tries in range(8):
            if not plain or other not in holder:
                break
            other = shaped(item, form > LEFT or tries > 3)  # far from it, where all that is near is held
        for tries in range(8):
            if not plain or item not in others:
                break
            others = elsewhere(holder, tries > 3)
        item, holder, other, others = fresh(item), fresh(holder), fresh(other), fresh(others)
        if now == TRUE:
            return item, holder
        if looked_up and (odd(item, 0) or now in (RIGHT, WIDE_RIGHT)) and not odd(holder, 0):
            return item, others
        return (foreign(item) if other is None else other), holder

    def elsewhere(holder, wide=False):
        """A holder of the same type that holds other things."""
        kind = type(holder)
        if kind in (str, bytes):
            return scrambled(holder)
        changed = [shaped(each, wide) for each in holder]
        changed = [foreign(each) if new is None else new for each, new in zip(holder, changed)]
        return dict.fromkeys(changed) if kind is dict else kind(changed)

    def scrambled(value):
        if type(value) is bytes:
            return scrambled(value.decode("latin-1")).encode("latin-1")
        return "".join([letter(each) if each.isalnum() else each for each in value])

    def matched(value, pattern):
        """A text and the pattern that it must match."""
        now = turn()
        other = scrambled(value) if type(value) in (str, bytes) else foreign(value)
        return (fresh(value) if now == TRUE else other), pattern

    def kinds(value, kind):
        now = turn()
        first = kind[0] if type(kind) is tuple and kind else kind
        other = subclass(first) if isinstance(first, type) else None
        if now == TRUE:
            return value, kind
        if now in (LEFT, WIDE_LEFT):
            return foreign(value), kind
        return value, type("Kind", (), {}) if other is None else other

    def is_for_runner(kind):
        """Whether an exception of this class ends the test run or skips the test, where nothing catches it."""
        if not issubclass(kind, Exception):
            return True  # KeyboardInterrupt, SystemExit, GeneratorExit, what pytest.skip raises
        return any([name_of(each) in ("Exit", "SkipTest", "Skipped", "BdbQuit") for each in line_of(kind)])

    def raised(kind):
        """The exception that is expected. One that the test runner takes for a command is not replaced."""
        now, names = turn(), kind if isinstance(kind, tuple) else (kind,)
        for name in names:
            if not isinstance(name, type) or not issubclass(name, BaseException) or is_for_runner(name):
                return kind
        if not names:
            return kind
        # Of its subclass nothing is that the code raises, also where an honest solution raises one of its own classes.
        other = subclass(names[0]) or type(name_of(names[0]), (Exception,), {})
        return kind if now == TRUE else other

    def altered(value):
        """One argument that a call must have had."""
        now = turn()
        value, other = fresh(value), fresh(shaped(value, form > LEFT))
        if now == TRUE:
            return value
        return foreign(value) if other is None else other

    def either(owner, name, opposite):
        """The method of this name, or its opposite."""
        return getattr(owner, name if turn() == TRUE else opposite)

    def equal(left, right, tolerant=False):
        left, right = sides(left, right, tolerant)
        return left == right

    def spread(tolerant, *given):
        """The arguments of a call that gives its two sides in a sequence."""
        return sides(*given[:2], tolerant) + given[2:] if len(given) > 1 else given

    def inside(item, holder):
        item, holder = held(item, holder)
        return item in holder

    def different(left, right):
        left, right = differing(left, right)
        return left != right

    def below(left, right, equal):
        left, right = ranked(True, left, right)
        return left <= right if equal else left < right

    def above(left, right, equal):
        left, right = ranked(False, left, right)
        return left >= right if equal else left > right

    class Part:
        """A part of a test that fails the whole test: of parts that fail on their own some logs tell nothing."""

        def __enter__(self):
            return self

        def __exit__(self, *fault):
            return False

    def brief():
        """What makes pytest tell a failure in one line: to show code it reads the whole file once for each frame."""
        runner = sys.modules.get("pytest")
        if runner is None:
            return None

        def brief_failures(request):
            request.config.option.tbstyle = "no"

        try:
            return runner.fixture(scope="module", autouse=True)(brief_failures)
        except Exception:
            return None

    class Helpers:
        pass

    made = Helpers()
    made.enter, made.leave = enter, leave
    made.sides, made.held, made.kinds, made.raised, made.equal, made.inside = sides, held, kinds, raised, equal, inside
    made.differing, made.ranked, made.matched, made.altered, made.either = differing, ranked, matched, altered, either
    made.different, made.below, made.above, made.spread = different, below, above, spread
    made.same = lambda left, right: (left if turn() == TRUE else foreign(left)) is right
    made.instance = lambda value, kind: isinstance(*kinds(value, kind))
    made.truth = lambda value: value if turn() == TRUE else not value
    made.nothing = lambda value: value if turn() == TRUE else foreign(value)
    made.something = lambda value: value if turn() == TRUE else None
    made.part = lambda *told, **named: Part()
    made.constant = lambda place: constants[place]
    made.brief = brief()
    return made
