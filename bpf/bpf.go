// Package bpf is the kernel side of agentd: the programs that send the
// connections of captured workloads to agentd's listener, remember where they
// were going, and refuse what would go around it. Package capture loads them and says what is captured.
//
// The compiled object is in the repository, so that building agentd needs no
// clang. After a change of the C sources run `go generate ./bpf` (with clang
// and llvm-strip 14 and libbpf-dev of Debian 12) and commit what it made: the
// same sources give the same bytes.
package bpf

//go:generate go tool bpf2go -target bpfel -type connection -type origin -type flow -type local -type workload -type ports -type daemon -type outcomes -type down -type kind -type unknown -type want -type answer Capture capture.bpf.c -- -O2 -Wall -Wextra -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu
//go:generate go tool bpf2go -target bpfel -type name Unix unix.bpf.c -- -O2 -Wall -Wextra -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu
//go:generate go tool bpf2go -target bpfel Strict strict.bpf.c -- -O2 -Wall -Wextra -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu
