"""Local provider servers: the providers' wire format over real sockets, and misbehaviour on demand."""
