"""Which items can be rendered: the name of each and the function that builds it. Read by `stage`."""

from __future__ import annotations

from collections.abc import Callable

import bpy

from tools.render_scene import sheets, tins, vessels

BUILDERS: dict[str, Callable[[], bpy.types.Object]] = {
    "green-bottle-1": vessels.green_bottle,
    "soda-can-1": tins.soda_can,
    "carton-1": sheets.carton,
    "paper-wad-1": sheets.paper_wad,
    "pet-bottle-1": vessels.pet_bottle,
    "crushed-can-1": tins.crushed_can,
    "torn-board-1": sheets.torn_board,
    "newspaper-1": sheets.newspaper,
    "jar-1": vessels.jar,
    "crisp-bag-1": sheets.crisp_bag,
    "yoghurt-tub-1": vessels.yoghurt_tub,
    "soiled-napkin-1": sheets.soiled_napkin,
    "brown-bottle-1": vessels.brown_bottle,
    "soup-tin-1": tins.soup_tin,
    "carton-2": sheets.small_carton,
}
