echo given >../side/in
touch -d @981173106 ../side/in
