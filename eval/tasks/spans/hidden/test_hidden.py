import unittest

from spans import merge


class HiddenTest(unittest.TestCase):
    def test_inner(self):
        self.assertEqual(merge([(1, 10), (2, 3)]), [(1, 10)])

    def test_order(self):
        spans = [(7, 8), (2, 5), (1, 3)]
        self.assertEqual(merge(spans), [(1, 5), (7, 8)])
        self.assertEqual(spans, [(7, 8), (2, 5), (1, 3)])

    def test_nothing(self):
        self.assertEqual(merge([]), [])
