import unittest

from again import Backoff, Breaker, BreakerOpen, GaveUp, ManualClock, Retry


class Flaky:
    def __init__(self, failures):
        self.failures = failures
        self.calls = 0

    def __call__(self, answer):
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError("no answer")
        return answer


class TestRetry(unittest.TestCase):
    def setUp(self):
        self.clock = ManualClock()
        self.retry = Retry(3, Backoff(1, factor=2), clock=self.clock)

    def test_works_at_once(self):
        self.assertEqual(self.retry.call(Flaky(0), 42), 42)
        self.assertEqual(self.clock.naps, [])

    def test_works_in_the_end(self):
        self.assertEqual(self.retry.call(Flaky(2), 42), 42)
        self.assertEqual(self.clock.naps, [1, 2])

    def test_gives_up(self):
        with self.assertRaises(GaveUp) as caught:
            self.retry.call(Flaky(3), 42)
        self.assertEqual(caught.exception.attempts, 3)
        self.assertIsInstance(caught.exception.__cause__, ConnectionError)

    def test_other_errors_pass_through(self):
        with self.assertRaises(ZeroDivisionError):
            self.retry.call(lambda: 1 / 0)

    def test_breaker_stops_the_attempts(self):
        self.retry.breaker = Breaker(2, clock=self.clock)
        flaky = Flaky(9)
        with self.assertRaises(BreakerOpen):
            self.retry.call(flaky, 42)
        self.assertEqual(flaky.calls, 2)


if __name__ == "__main__":
    unittest.main()
