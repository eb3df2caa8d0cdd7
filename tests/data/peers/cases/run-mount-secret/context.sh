printf secret >../side/one
