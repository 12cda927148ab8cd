import unittest

from table import read


class HiddenTest(unittest.TestCase):
    def test_quotes(self):
        text = 'name,note\n"Doe, Jane","said ""hi""\nand left"\n'
        self.assertEqual(read(text), [{"name": "Doe, Jane", "note": 'said "hi"\nand left'}])

    def test_windows(self):
        self.assertEqual(read("\ufeffa,b\r\n1,2\r\n\r\n3,4\r\n"), [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}])

    def test_nothing(self):
        self.assertEqual(read("a,b\n"), [])
