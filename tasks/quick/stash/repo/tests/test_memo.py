import unittest

from stash import Cache, memoize


class TestMemo(unittest.TestCase):
    def setUp(self):
        self.calls = []
        self.cache = Cache(10)

        @memoize(self.cache)
        def half(number):
            self.calls.append(number)
            return None if number % 2 else number // 2

        self.half = half

    def test_result(self):
        self.assertEqual(self.half(8), 4)

    def test_calls_once(self):
        self.half(8)
        self.half(8)
        self.assertEqual(self.calls, [8])

    def test_none_is_remembered(self):
        self.half(7)
        self.half(7)
        self.assertEqual(self.calls, [7])

    def test_rate(self):
        self.half(8)
        self.half(8)
        self.assertEqual(self.cache.stats.rate, 0.5)


if __name__ == "__main__":
    unittest.main()
