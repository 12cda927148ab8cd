import unittest

from cache import Cache


class CacheTest(unittest.TestCase):
    def test_size(self):
        cache = Cache(2)
        for key in "abc":
            cache.put(key, key)
        self.assertIsNone(cache.get("a"))
        self.assertEqual(cache.get("c"), "c")
