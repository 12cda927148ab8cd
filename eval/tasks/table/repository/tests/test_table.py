import unittest

from table import read


class ReadTest(unittest.TestCase):
    def test_plain(self):
        self.assertEqual(read("a,b\n1,2"), [{"a": "1", "b": "2"}])
