import unittest

from scores import best, mean, rank, spread, total


class TestScores(unittest.TestCase):
    def test_total(self):
        self.assertEqual(total([60, 80, 100]), 240)
        self.assertEqual(total([]), 0)

    def test_mean(self):
        self.assertEqual(mean([60, 80, 100]), 80.0)

    def test_best(self):
        self.assertEqual(best([60, 80, 100]), 100)
        self.assertEqual(best([7]), 7)

    def test_spread(self):
        self.assertEqual(spread([60, 80, 100]), 40)

    def test_spread_of_equal_scores(self):
        self.assertEqual(spread([55, 55]), 0)

    def test_rank_of_the_best(self):
        self.assertEqual(rank(100, [60, 80, 100]), 1)

    def test_rank_of_the_last(self):
        self.assertEqual(rank(60, [60, 80, 100]), 3)

    def test_equal_scores_share_a_rank(self):
        self.assertEqual([rank(80, [80, 80, 60]), rank(60, [80, 80, 60])], [1, 3])
