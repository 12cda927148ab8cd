import unittest

from tidytime import format


class FormatTest(unittest.TestCase):
    def test_whole_units(self) -> None:
        self.assertEqual(format(5_400), "1h 30m")
        self.assertEqual(format(86_400), "1d")
        self.assertEqual(format(90_061), "1d 1h 1m 1s")

    def test_milliseconds(self) -> None:
        self.assertEqual(format(1.5), "1s 500ms")
        self.assertEqual(format(0.0004), "0s")

    def test_rounding_carries(self) -> None:
        self.assertEqual(format(59.9999), "1m")

    def test_nothing(self) -> None:
        self.assertEqual(format(0), "0s")

    def test_negative(self) -> None:
        with self.assertRaises(ValueError):
            format(-1)


if __name__ == "__main__":
    unittest.main()
