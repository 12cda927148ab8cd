import unittest

from cache import Cache


class HiddenTest(unittest.TestCase):
    def test_read_entries_stay(self):
        cache = Cache(2)
        cache.put("a", 1)
        cache.put("b", 2)
        cache.get("a")
        cache.put("c", 3)
        self.assertEqual((cache.get("a"), cache.get("b"), cache.get("c")), (1, None, 3))

    def test_written_entries_stay(self):
        cache = Cache(2)
        cache.put("a", 1)
        cache.put("b", 2)
        cache.put("a", 3)
        cache.put("c", 4)
        self.assertEqual((cache.get("a"), cache.get("b")), (3, None))

    def test_none_is_a_value(self):
        cache = Cache(2)
        cache.put("x", None)
        self.assertIsNone(cache.get("x", "default"))
        self.assertEqual(cache.get("y", "default"), "default")
