echo blank >'with blank'
