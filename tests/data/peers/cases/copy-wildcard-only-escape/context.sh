echo star >"st*r"
