import unittest

from again import Breaker, BreakerOpen, ManualClock


class TestBreaker(unittest.TestCase):
    def setUp(self):
        self.clock = ManualClock()
        self.breaker = Breaker(3, cooldown=30, clock=self.clock)

    def fail(self, times):
        for _ in range(times):
            self.breaker.check()
            self.breaker.failed()

    def test_stays_closed_below_the_threshold(self):
        self.fail(2)
        self.breaker.check()
        self.assertEqual(self.breaker.state, "closed")

    def test_opens_at_the_threshold(self):
        self.fail(3)
        with self.assertRaises(BreakerOpen) as caught:
            self.breaker.check()
        self.assertEqual(caught.exception.seconds, 30)

    def test_says_how_long_to_wait(self):
        self.fail(3)
        self.clock.sleep(20)
        with self.assertRaises(BreakerOpen) as caught:
            self.breaker.check()
        self.assertEqual(caught.exception.seconds, 10)

    def test_trial_after_the_cooldown(self):
        self.fail(3)
        self.clock.sleep(30)
        self.breaker.check()
        self.assertEqual(self.breaker.state, "trial")

    def test_trial_that_succeeds(self):
        self.fail(3)
        self.clock.sleep(30)
        self.breaker.check()
        self.breaker.succeeded()
        self.assertEqual(self.breaker.state, "closed")

    def test_trial_that_fails(self):
        self.fail(3)
        self.clock.sleep(30)
        self.fail(1)
        with self.assertRaises(BreakerOpen):
            self.breaker.check()


if __name__ == "__main__":
    unittest.main()
