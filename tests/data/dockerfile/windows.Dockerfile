# escape=`
FROM mcr.example.org/nano
RUN dir c:\ `
    && echo done
COPY a.txt c:\
ENV P=c:\x Q="a`"b"
