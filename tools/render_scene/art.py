"""The printing on every item: fictional brands, drawn by `paint`.

In: nothing. Out: uint8 arrays [H, W, 3 or 4] RGB(A); row 0 is the top of the label; a fourth channel, where there is
one, is how metallic the print is. Called by the item modules.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from tools.render_scene.paint import Array8, Canvas, Colour, cloud, kraft, landscape, shaded, with_metal


def beer_label(title: str, line: str, ground: Colour, accent: Colour, seed: int) -> Array8:
    """A paper bottle label, 900 x 560, with a worn rim."""
    c = Canvas(900, 560, (232, 222, 196))
    c.draw.rectangle((18, 18, 882, 542), outline=accent, width=6)
    c.draw.rectangle((34, 120, 866, 420), fill=ground)
    c.draw.ellipse((330, 30, 570, 270), fill=(232, 222, 196), outline=accent, width=8)
    for turn in range(0, 360, 30):
        r = np.radians(turn)
        c.leaf((450 + 62 * np.cos(r), 150 + 62 * np.sin(r)), 74, turn, (92, 122, 62) if turn % 60 else accent)
    c.text((450, 340), title, 120, (238, 226, 190), bold=0.035, squeeze=0.92)
    c.text((450, 458), line, 40, ground, bold=0.02)
    c.text((450, 512), "BREWED AND BOTTLED AT THE OLD MILL  ·  330 ml  ·  4.9 % vol", 22, (70, 60, 50))
    c.paragraph((60, 440, 220, 530), 13, (80, 70, 60), seed)
    c.barcode((700, 440, 840, 500), seed)
    return shaded(c.array(), 0.02 * cloud(560, 900, seed))


def soda_can(seed: int) -> Array8:
    """A 1400 x 800 wrap for a drinks can, RGBA: inks are half metallic, bare silver fully."""
    c = Canvas(1400, 800, (196, 198, 202))
    metal = np.full((800, 1400), 1.0, np.float32)
    x = np.arange(1400)
    for low, high, colour in ((150, 640, (164, 22, 32)), (600, 700, (236, 232, 224))):
        wave = 40 * np.sin(x / 1400 * 4 * np.pi)
        outline = [(int(i), int(low + wave[i])) for i in x] + [(int(i), int(high + wave[i])) for i in x[::-1]]
        c.draw.polygon(outline, fill=colour)
        for i in x:
            metal[int(low + wave[i]) : int(high + wave[i]), i] = 0.45 if colour[0] < 200 else 0.05
    for centre in (350, 1050):
        c.text((centre, 350 + 0), "Corvina", 205, (244, 240, 232), bold=0.03, slant=0.22, squeeze=0.9, turn=8)
        c.text((centre + 40, 505), "CHERRY SODA", 58, (250, 214, 120), bold=0.03)
        c.draw.ellipse((centre - 190, 190, centre - 120, 260), fill=(90, 8, 20))
        c.draw.ellipse((centre - 150, 215, centre - 80, 285), fill=(110, 10, 24))
        c.leaf((centre - 110, 180), 90, -30, (60, 110, 50))
        c.text((centre, 745), "330 ml e", 40, (90, 20, 26), bold=0.02)
    c.barcode((655, 300, 745, 520), seed, upright=False)
    c.paragraph((640, 60, 760, 150), 13, (60, 60, 66), seed)
    c.paragraph((10, 240, 110, 560), 13, (246, 226, 220), seed + 1)
    return with_metal(shaded(c.array(), 0.015 * cloud(800, 1400, seed)), metal)


def energy_can(seed: int) -> Array8:
    """A darker wrap for the crushed can, 1400 x 800, RGBA."""
    c = Canvas(1400, 800, (22, 66, 92))
    metal = np.full((800, 1400), 0.5, np.float32)
    for k in range(14):
        left = k * 100
        c.draw.polygon(
            [(left, 800), (left + 45, 800), (left + 145, 0), (left + 100, 0)],
            fill=(30, 84, 112) if k % 2 else (180, 186, 190),
        )
        if k % 2 == 0:
            cv2.fillPoly(metal, [np.array([(left, 800), (left + 45, 800), (left + 145, 0), (left + 100, 0)])], 1.0)
    for centre in (350, 1050):
        c.draw.rounded_rectangle((centre - 240, 230, centre + 240, 560), 40, fill=(14, 30, 44))
        c.text((centre, 350), "NORDLYS", 118, (226, 232, 120), bold=0.05, squeeze=0.85)
        c.text((centre, 455), "tonic water", 64, (230, 236, 238), bold=0.015)
        c.text((centre, 525), "with lime", 36, (190, 214, 150))
        metal[230:560, centre - 240 : centre + 240] = 0.3
    c.barcode((650, 300, 750, 540), seed, upright=False)
    c.paragraph((0, 260, 100, 620), 13, (220, 226, 230), seed)
    return with_metal(c.array(), metal)


def soup_label(seed: int) -> Array8:
    """A paper wrap for a tin, 1400 x 620."""
    c = Canvas(1400, 620, (240, 232, 212))
    c.draw.rectangle((0, 0, 1400, 250), fill=(34, 82, 52))
    c.draw.rectangle((0, 250, 1400, 268), fill=(196, 158, 66))
    for centre in (350, 1050):
        c.text((centre, 120), "Hearth & Field", 104, (244, 234, 208), bold=0.03, squeeze=0.85)
        c.text((centre, 205), "since the first frost", 36, (216, 206, 170), slant=0.2)
        c.text((centre, 330), "GARDEN PEAS", 66, (34, 82, 52), bold=0.04)
        for k in range(26):
            r = np.random.default_rng(seed + k).uniform(-1, 1, 2)
            x, y = centre + 170 * r[0], 450 + 55 * r[1]
            c.draw.ellipse((x - 25, y - 25, x + 25, y + 25), fill=(96 + k, 138 + k, 54), outline=(70, 108, 44), width=2)
            c.draw.ellipse((x - 12, y - 16, x - 2, y - 6), fill=(176, 204, 128))
        c.text((centre, 572), "net 400 g  drained 240 g", 34, (70, 60, 46))
    c.barcode((630, 300, 770, 420), seed)
    c.paragraph((610, 430, 790, 600), 15, (60, 60, 50), seed)
    return shaded(c.array(), 0.02 * cloud(620, 1400, seed))


def water_label(seed: int) -> Array8:
    """A film sleeve for a water bottle, 1400 x 380."""
    c = Canvas(1400, 380, (232, 240, 244))
    c.draw.rectangle((0, 0, 1400, 46), fill=(24, 84, 150))
    for layer, colour in enumerate(((150, 190, 216), (92, 146, 190), (38, 96, 158))):
        x = np.arange(0, 1401, 10)
        y = 250 + 36 * layer + 26 * np.abs(np.sin(x / 140 + layer)) * (1 if layer else 2)
        c.draw.polygon([(0, 380), *[(int(a), int(b)) for a, b in zip(x, y, strict=True)], (1400, 380)], fill=colour)
    for centre in (350, 1050):
        c.text((centre, 140), "Kilda Spring", 116, (20, 62, 128), bold=0.03, slant=0.12, squeeze=0.9)
        c.text((centre, 220), "natural mineral water", 40, (30, 90, 140))
        c.text((centre, 345), "500 ml e", 36, (240, 246, 250), bold=0.02)
    c.barcode((640, 80, 760, 210), seed)
    c.paragraph((610, 60, 632, 200), 10, (60, 70, 90), seed)
    return c.array()


def tub_art(seed: int) -> Array8:
    """Print for a yoghurt tub, 1400 x 560."""
    c = Canvas(1400, 560, (244, 242, 236))
    c.draw.rectangle((0, 380, 1400, 520), fill=(118, 62, 128))
    for centre in (350, 1050):
        c.text((centre, 130), "Lindal", 170, (74, 40, 96), bold=0.035, squeeze=0.95)
        c.text((centre, 250), "creamy yoghurt", 60, (110, 90, 120), slant=0.15)
        c.text((centre, 450), "BLUEBERRY", 76, (246, 240, 244), bold=0.03)
        for k in range(9):
            r = np.random.default_rng(seed + k).uniform(-1, 1, 2)
            x, y = centre + 190 * r[0], 345 + 26 * r[1]
            c.draw.ellipse((x - 34, y - 34, x + 34, y + 34), fill=(52 + 3 * k, 58, 112), outline=(36, 38, 84), width=3)
            c.draw.ellipse((x - 16, y - 20, x - 2, y - 8), fill=(128, 136, 184))
    c.barcode((650, 60, 750, 190), seed)
    c.paragraph((640, 210, 765, 360), 14, (80, 70, 90), seed)
    return c.array()


def box_side(width: int, height: int, seed: int, kind: str) -> Array8:
    """One side of a shipping carton: kraft with black one-colour print. kind: 'front', 'side' or 'top'."""
    board = kraft(width, height, seed, pixels_per_flute=width / 46)
    ink = Canvas(width, height, (255, 255, 255))
    black = (46, 40, 38)
    if kind == "front":
        ink.text((width * 0.5, height * 0.3), "BRAMLEY & SONS", height * 0.17, black, bold=0.04, squeeze=0.9)
        ink.text((width * 0.5, height * 0.48), "kitchen goods", height * 0.09, black)
        ink.barcode((width * 0.62, height * 0.62, width * 0.92, height * 0.88), seed)
        ink.text((width * 0.28, height * 0.75), "QTY 6  LOT 2291", height * 0.08, black, bold=0.02)
    elif kind == "side":
        for k in (0.3, 0.55):
            x = width * k
            ink.draw.polygon(
                [(x, height * 0.25), (x - height * 0.12, height * 0.45), (x + height * 0.12, height * 0.45)], fill=black
            )
            ink.draw.rectangle((x - height * 0.05, height * 0.45, x + height * 0.05, height * 0.7), fill=black)
        ink.draw.line((width * 0.2, height * 0.78, width * 0.65, height * 0.78), fill=black, width=6)
        ink.text((width * 0.8, height * 0.5), "FRAGILE", height * 0.13, black, bold=0.03, turn=90)
    wear = np.clip(1 - 0.12 * np.abs(cloud(height, width, seed + 9, 0.05, 5)), 0.6, 1)[..., None]
    cover = (1 - ink.array().astype(np.float32) / 255) * wear
    out = board.astype(np.float32) * (1 - cover * 0.92)
    return np.asarray(np.clip(out, 0, 255), np.uint8)


def letter(seed: int) -> Array8:
    """A typed page, 1100 x 1500."""
    c = Canvas(1100, 1500, (236, 235, 230))
    c.text((120, 120), "Minutes of the meeting", 54, (30, 30, 36), bold=0.025, anchor="lm")
    c.text((120, 185), "Allotment society, spring term", 30, (80, 80, 90), anchor="lm")
    c.paragraph((120, 240, 980, 820), 25, (40, 40, 46), seed)
    c.draw.rectangle((120, 860, 980, 1090), outline=(60, 60, 70), width=3)
    for row in range(5):
        c.draw.line((120, 860 + 46 * row, 980, 860 + 46 * row), fill=(60, 60, 70), width=2)
    c.paragraph((120, 1130, 980, 1400), 25, (40, 40, 46), seed + 1)
    return shaded(c.array(), 0.008 * cloud(1500, 1100, seed))


def newspaper(seed: int) -> Array8:
    """A newspaper page on grey newsprint, 1700 x 1300."""
    c = Canvas(1700, 1300, (214, 210, 198))
    ink = (48, 46, 46)
    c.text((850, 86), "The Harbour Courier", 118, ink, bold=0.03, squeeze=0.95)
    c.draw.line((50, 160, 1650, 160), fill=ink, width=4)
    c.text((850, 185), "MORNING EDITION   ·   LOCAL NEWS   ·   TIDES AND WEATHER ON PAGE 12", 24, ink)
    c.draw.line((50, 208, 1650, 208), fill=ink, width=2)
    c.text((60, 275), "Bridge opens after nine months", 92, ink, bold=0.035, anchor="lm", squeeze=0.86)
    c.image.paste(Image.fromarray(landscape(780, 470, seed)), (60, 345))
    c.text((60, 838), "The valley from the new footbridge, early on Monday.", 22, ink, anchor="lm")
    for column in range(4):
        left = 60 + column * 405
        c.paragraph(
            (left, 865 if column < 2 else 345, left + 375, 1260 if column != 3 else 900), 19, ink, seed + column
        )
    c.draw.rectangle((1275, 930, 1640, 1250), fill=(150, 44, 40))
    c.text((1457, 1010), "SPRING SALE", 56, (240, 232, 220), bold=0.04, squeeze=0.9)
    c.text((1457, 1110), "-30%", 120, (248, 222, 110), bold=0.05)
    c.text((1457, 1200), "garden tools and seeds", 28, (240, 232, 220))
    return shaded(c.array(), 0.02 * cloud(1300, 1700, seed))


def crisp_bag(seed: int) -> Array8:
    """The front of a snack bag, 1000 x 1300, RGBA."""
    c = Canvas(1000, 1300, (38, 92, 60))
    for k in range(24):
        r0, r1 = np.radians(k * 15), np.radians(k * 15 + 7.5)
        c.draw.polygon(
            [
                (500, 640),
                (500 + 1200 * np.cos(r0), 640 + 1200 * np.sin(r0)),
                (500 + 1200 * np.cos(r1), 640 + 1200 * np.sin(r1)),
            ],
            fill=(52, 112, 72),
        )
    c.draw.ellipse((130, 230, 870, 640), fill=(228, 186, 62))
    c.text((500, 400), "Rumpel", 210, (150, 30, 28), bold=0.04, slant=0.12, squeeze=0.9, turn=6)
    c.text((510, 540), "ridged crisps", 70, (70, 30, 20), bold=0.02, slant=0.12)
    rng = np.random.default_rng(seed)
    for _ in range(9):
        x, y, s = rng.uniform(220, 780), rng.uniform(760, 1000), rng.uniform(70, 110)
        c.draw.ellipse((x - s, y - s * 0.6, x + s, y + s * 0.6), fill=(222, 176, 84), outline=(176, 122, 44), width=5)
        for k in range(-3, 4):
            c.draw.line(
                (x + k * s * 0.25, y - s * 0.45, x + k * s * 0.25 + 10, y + s * 0.45), fill=(196, 146, 60), width=4
            )
    c.text((500, 1120), "SEA SALT & VINEGAR", 60, (244, 240, 226), bold=0.03)
    c.text((500, 1185), "40 g", 44, (244, 240, 226))
    for y in (0, 1225):
        c.draw.rectangle((0, y, 1000, y + 75), fill=(188, 190, 192))
    metal = np.full((1300, 1000), 0.25, np.float32)
    metal[:75] = metal[1225:] = 0.9
    return with_metal(c.array(), metal)


def soiled_napkin(seed: int) -> Array8:
    """White embossed tissue with tomato, grease and coffee, 1000 x 1000."""
    base = np.empty((1000, 1000, 3), np.float32)
    base[:] = (232, 230, 224)
    for k, (colour, level) in enumerate((((176, 66, 30), 0.9), (((150, 110, 60)), 0.7), ((94, 62, 40), 1.25))):
        field = cloud(1000, 1000, seed + k, 0.45, 5)
        cover = np.clip((field - level) * 2.2, 0, 0.92)[..., None]
        base = base * (1 - cover) + np.array(colour, np.float32) * cover
    return shaded(np.asarray(base, np.uint8), 0.015 * cloud(1000, 1000, seed + 7, 0.02, 3))
