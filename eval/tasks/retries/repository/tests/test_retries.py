import unittest

from retries import retry


class RetryTest(unittest.TestCase):
    def test_result(self):
        self.assertEqual(retry(lambda: 1), 1)
