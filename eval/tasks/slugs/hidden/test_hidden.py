import unittest

from slugs import slug


class HiddenTest(unittest.TestCase):
    def test_accents(self):
        self.assertEqual(slug("Crème brûlée"), "creme-brulee")
        self.assertEqual(slug("Ångström"), "angstrom")

    def test_no_dash_at_the_ends(self):
        self.assertEqual(slug("  C++ & Rust! "), "c-rust")

    def test_nothing_left(self):
        self.assertEqual(slug("!!!"), "untitled")
        self.assertEqual(slug(""), "untitled")
