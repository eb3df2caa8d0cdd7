mkdir -p logs/keep logs/deep src/node_modules/x src/a.tmp
touch logs/1.log logs/keep/2.log logs/deep/3.log src/node_modules/x/y src/main.c src/main.o src/a.tmp/in top.o '#hash' README.md x.md y.md
cat >.dockerignore <<-EOF
	# comment
	  logs/*
	!logs/keep
	**/node_modules
	**/*.o
	!src/main.o
	/top.none
	*.md
	!README.md
	src/?.tmp/
	dir/../empty

	Dockerfile
EOF
