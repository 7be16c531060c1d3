import unittest

from stackup import Catalog, Cycle, UnknownPackage, Unsolvable, install_order, lock, resolve


class TestResolver(unittest.TestCase):
    def setUp(self):
        self.catalog = Catalog()
        self.catalog.add("base", "1.0")
        self.catalog.add("base", "2.0")
        self.catalog.add("web", "1.0", ["base"])
        self.catalog.add("web", "1.10", ["base<2"])
        self.catalog.add("Form_Kit", "0.9", ["web"])

    def test_newest_version(self):
        self.assertEqual(resolve(self.catalog, ["base"]), {"base": "2.0"})

    def test_needs_of_needs(self):
        self.assertEqual(resolve(self.catalog, ["web"]), {"web": "1.10", "base": "1.0"})

    def test_goes_back_when_stuck(self):
        pins = resolve(self.catalog, ["web", "base>=2"])
        self.assertEqual(pins, {"web": "1.0", "base": "2.0"})

    def test_unsolvable(self):
        with self.assertRaises(Unsolvable):
            resolve(self.catalog, ["web==1.10", "base>=2"])

    def test_unknown_package(self):
        with self.assertRaises(UnknownPackage):
            resolve(self.catalog, ["wep"])

    def test_name_in_its_canonical_form(self):
        pins = resolve(self.catalog, ["form-kit"])
        self.assertEqual(pins["form-kit"], "0.9")


class TestOrder(unittest.TestCase):
    def test_needs_come_first(self):
        catalog = Catalog()
        catalog.add("app", "1", ["web", "base"])
        catalog.add("web", "1", ["base"])
        catalog.add("base", "1")
        pins = resolve(catalog, ["app"])
        self.assertEqual(install_order(catalog, pins), ["base", "web", "app"])

    def test_cycle(self):
        catalog = Catalog()
        catalog.add("hen", "1", ["egg"])
        catalog.add("egg", "1", ["hen"])
        with self.assertRaises(Cycle):
            install_order(catalog, resolve(catalog, ["hen"]))

    def test_lock(self):
        self.assertEqual(lock({"web": "1.10", "base": "1.0"}), "base==1.0\nweb==1.10\n")


if __name__ == "__main__":
    unittest.main()
