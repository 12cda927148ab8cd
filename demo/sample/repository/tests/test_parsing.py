import unittest

from tidytime import parse


class ParseTest(unittest.TestCase):
    def test_single_units(self) -> None:
        for text, seconds in {"2d": 172_800, "1h": 3_600, "30m": 1_800, "45s": 45}.items():
            with self.subTest(text):
                self.assertEqual(parse(text), seconds)

    def test_combined_units(self) -> None:
        self.assertEqual(parse("1h 30m"), 5_400)
        self.assertEqual(parse("2m30s"), 150)
        self.assertEqual(parse("30s 1m"), 90)

    def test_fractions(self) -> None:
        self.assertEqual(parse("1.5h"), 5_400)
        self.assertEqual(parse("0.25s"), 0.25)

    def test_spaces(self) -> None:
        self.assertEqual(parse("  1 h  30 m "), 5_400)

    def test_milliseconds(self) -> None:
        self.assertEqual(parse("1500ms"), 1.5)
        self.assertEqual(parse("2s 250ms"), 2.25)

    def test_nonsense(self) -> None:
        for text in ("", "12", "h", "1x", "1h and 30m", "-5s"):
            with self.subTest(text), self.assertRaises(ValueError):
                parse(text)


if __name__ == "__main__":
    unittest.main()
