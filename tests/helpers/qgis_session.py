"""Run by the Python that has QGIS: opens the files of a folder as a user would, and prints what the layers say as JSON.

QT_QPA_PLATFORM=offscreen python3 qgis_session.py MAP.tif CONFIDENCE.tif POLYGONS.gpkg PICTURES
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


def picture(layer, path: Path) -> None:
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setExtent(layer.extent())
    settings.setOutputSize(QSize(600, 600))
    settings.setBackgroundColor(QColor("white"))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(str(path))


def main(map_: str, confidence: str, polygons: str, pictures: str) -> None:
    QgsApplication.setPrefixPath("/usr", True)
    application = QgsApplication([], False)
    application.initQgis()
    place = Path(pictures)
    classes = QgsRasterLayer(map_, "map")
    level = QgsRasterLayer(confidence, "confidence")
    shapes = QgsVectorLayer(f"{polygons}|layername=land_cover", "polygons", "ogr")
    renderer, categorized = classes.renderer(), shapes.renderer()
    center = level.extent().center()
    answer = {
        "valid": [layer.isValid() for layer in (classes, level, shapes)],
        "map renderer": renderer.type(),
        "classes": {str(int(c.value)): [c.label, c.color.name()] for c in renderer.classes()},
        "crs": classes.crs().authid(),
        "confidence renderer": level.renderer().type(),
        "confidence": level.dataProvider().sample(center, 1)[0],
        "polygons renderer": categorized.type(),
        "polygons": {str(c.value()): [c.label(), c.symbol().color().name()] for c in categorized.categories()},
        "features": shapes.featureCount(),
        "invalid": sum(not feature.geometry().isGeosValid() for feature in shapes.getFeatures()),
    }
    for name, layer in (("map", classes), ("confidence", level), ("polygons", shapes)):
        picture(layer, place / f"{name}.png")
    print(json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)  # QGIS may crash when Python takes its objects apart


main(*sys.argv[1:])
