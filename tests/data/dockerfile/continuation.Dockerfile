FROM alpine
RUN one \   
    two \
# a comment inside

    three
	ENV  a=1 \
  b=2
RUN tail \\
RUN last \