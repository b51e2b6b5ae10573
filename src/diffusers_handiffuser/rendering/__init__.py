"""Everything that draws hands or writes their meshes."""
