import unittest

from stash import Cache, ManualClock


class TestCache(unittest.TestCase):
    def setUp(self):
        self.clock = ManualClock()
        self.cache = Cache(2, ttl=60, clock=self.clock)
        self.cache.put("a", 1)

    def test_get(self):
        self.assertEqual(self.cache.get("a"), 1)

    def test_default(self):
        self.assertEqual(self.cache.get("b", 7), 7)

    def test_peek(self):
        self.assertEqual(self.cache.peek("a"), 1)
        self.assertIsNone(self.cache.peek("b"))

    def test_contains(self):
        self.assertIn("a", self.cache)
        self.assertNotIn("b", self.cache)

    def test_capacity(self):
        self.cache.put("b", 2)
        self.cache.put("c", 3)
        self.assertEqual(len(self.cache), 2)
        self.assertNotIn("a", self.cache)

    def test_get_counts_as_use(self):
        self.cache.put("b", 2)
        self.cache.get("a")
        self.cache.put("c", 3)
        self.assertIn("a", self.cache)
        self.assertNotIn("b", self.cache)

    def test_put_counts_as_use(self):
        self.cache.put("b", 2)
        self.cache.put("a", 10)
        self.cache.put("c", 3)
        self.assertEqual(self.cache.get("a"), 10)

    def test_time_to_live(self):
        self.clock.advance(59)
        self.assertIn("a", self.cache)
        self.clock.advance(1)
        self.assertNotIn("a", self.cache)

    def test_own_time_to_live(self):
        self.cache.put("b", 2, ttl=5)
        self.clock.advance(5)
        self.assertEqual(self.cache.purge(), 1)

    def test_expired_entries_make_room_first(self):
        self.cache.put("b", 2, ttl=5)
        self.clock.advance(5)
        self.cache.put("c", 3)
        self.assertIn("a", self.cache)
        self.assertEqual(self.cache.stats.evictions, 0)

    def test_capacity_must_be_positive(self):
        with self.assertRaises(ValueError):
            Cache(0)


if __name__ == "__main__":
    unittest.main()
