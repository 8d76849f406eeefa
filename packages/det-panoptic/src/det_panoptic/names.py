"""The classes of Cityscapes and ADE20K, by label."""

from det_core.zoo.class_names import CITYSCAPES_SEMANTIC_CLASSES

__all__ = ["ADE20K_CLASSES", "CITYSCAPES_CLASSES", "CITYSCAPES_IDS", "CITYSCAPES_THINGS"]

CITYSCAPES_CLASSES = CITYSCAPES_SEMANTIC_CLASSES
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The id of each of the 19 classes in Cityscapes' label images, which go up to 33."""
CITYSCAPES_THINGS = tuple(range(11, 19))
"""The thing classes among them."""

# The first name of each class in the list of the scene parsing benchmark.
_ADE20K = """
wall, building, sky, floor, tree, ceiling, road, bed, window, grass, cabinet, sidewalk, person, earth, door, table,
mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field, armchair, seat,
fence, desk, rock, wardrobe, lamp, tub, rail, cushion, base, box, column, signboard, chest of drawers, counter, sand,
sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, pool table, pillow, screen door,
stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill, bench, countertop, stove, palm,
kitchen island, computer, swivel chair, boat, bar, arcade machine, hovel, bus, towel, light, truck, tower, chandelier,
awning, street lamp, booth, tv, plane, dirt track, clothes, pole, land, bannister, escalator, ottoman, bottle, buffet,
poster, stage, van, ship, fountain, conveyer belt, canopy, washer, plaything, pool, stool, barrel, basket, falls, tent,
bag, minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher,
screen, blanket, sculpture, hood, sconce, vase, traffic light, tray, trash can, fan, pier, crt screen, plate, monitor,
bulletin board, shower, radiator, glass, clock, flag
"""
ADE20K_CLASSES = tuple(name.strip() for name in _ADE20K.split(","))
"""The 150 classes of the scene parsing benchmark on ADE20K."""
