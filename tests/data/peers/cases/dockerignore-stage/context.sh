echo '*.log' >.dockerignore
