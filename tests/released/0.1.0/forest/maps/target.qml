<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis styleCategories="AllStyleCategories">
  <pipe>
    <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1">
      <colorPalette>
        <paletteEntry value="1" color="#00ffff" label="Surface water" alpha="255" />
        <paletteEntry value="2" color="#ffffff" label="Street" alpha="255" />
        <paletteEntry value="3" color="#ff0000" label="Urban fabric" alpha="255" />
        <paletteEntry value="4" color="#dda0dd" label="Industrial, commercial, transport" alpha="255" />
        <paletteEntry value="5" color="#9400d3" label="Mine, dump, construction sites" alpha="255" />
        <paletteEntry value="6" color="#ff00ff" label="Artificial vegetated areas" alpha="255" />
        <paletteEntry value="7" color="#ffff00" label="Arable land" alpha="255" />
        <paletteEntry value="8" color="#cd853f" label="Permanent crops" alpha="255" />
        <paletteEntry value="9" color="#bdb76b" label="Pastures" alpha="255" />
        <paletteEntry value="10" color="#00ff00" label="Forests" alpha="255" />
        <paletteEntry value="11" color="#9acd32" label="Shrub" alpha="255" />
        <paletteEntry value="12" color="#8b4513" label="Open spaces, no vegetation" alpha="255" />
        <paletteEntry value="13" color="#483d8b" label="Inland wetlands" alpha="255" />
      </colorPalette>
    </rasterrenderer>
  </pipe>
</qgis>
