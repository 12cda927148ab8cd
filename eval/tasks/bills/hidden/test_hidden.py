import unittest

from bills import split


class HiddenTest(unittest.TestCase):
    def test_adds_up(self):
        for amount in (*range(-50, 50), 10**18 + 1):
            for people in range(1, 8):
                shares = split(amount, people)
                self.assertEqual(sum(shares), amount)
                self.assertLessEqual(max(shares) - min(shares), 1)
                self.assertTrue(all(share * amount >= 0 for share in shares))

    def test_the_first_pay_more(self):
        self.assertEqual(split(1000, 3), [334, 333, 333])

    def test_nobody(self):
        with self.assertRaises(ValueError):
            split(100, 0)
