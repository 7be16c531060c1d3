import unittest

from waymark import MethodNotAllowed, NotFound, Router


class TestRouter(unittest.TestCase):
    def setUp(self):
        self.router = Router()
        self.router.add("GET", "/users/{id:int}/posts", "posts")
        self.router.add("GET", "/users/{id:int}", "user")
        self.router.add("DELETE", "/users/{id:int}", "remove")

    def test_longer_route_comes_first(self):
        self.assertEqual(self.router.find("GET", "/users/7/posts"), ("posts", {"id": 7}))

    def test_shorter_route_is_found_behind_it(self):
        self.assertEqual(self.router.find("GET", "/users/7"), ("user", {"id": 7}))

    def test_nothing_fits(self):
        with self.assertRaises(NotFound):
            self.router.find("GET", "/groups/7")

    def test_method_does_not_fit(self):
        with self.assertRaises(MethodNotAllowed) as caught:
            self.router.find("POST", "/users/7/posts")
        self.assertEqual(caught.exception.allowed, ["GET"])

    def test_methods_in_any_case(self):
        self.assertEqual(self.router.find("get", "/users/7/posts")[0], "posts")

    def test_include(self):
        outer = Router("/api")
        outer.include(self.router)
        self.assertEqual(outer.find("GET", "/api/users/7/posts"), ("posts", {"id": 7}))


if __name__ == "__main__":
    unittest.main()
