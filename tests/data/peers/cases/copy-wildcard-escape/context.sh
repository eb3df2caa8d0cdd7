echo arr >'arr[0].txt'
echo star >'st*r'
echo stir >stir
echo q >'q?'
echo qq >qq
