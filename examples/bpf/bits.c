// Loads bits.bpf.o, runs its program once in the kernel and checks what it found.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "bits.h"

static int fail(const char *what, int error)
{
	fprintf(stderr, "bits: %s: %s\n", what, strerror(-error));
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct bits bits = { .word = argc > 1 ? strtoull(argv[1], NULL, 0) : 0 };
	__u32 key = 0;

	struct bpf_object *object = bpf_object__open_file("bits.bpf.o", NULL);
	if (!object)
		return fail("cannot open bits.bpf.o", -errno);

	// This is where a kernel says what it does not have.
	int error = bpf_object__load(object);
	if (error)
		return fail("this kernel does not take the program", error);

	int map = bpf_object__find_map_fd_by_name(object, ".bss");
	error = bpf_map_update_elem(map, &key, &bits, BPF_ANY);
	if (error)
		return fail("cannot write what the program shares", error);

	int program = bpf_program__fd(bpf_object__find_program_by_name(object, "walk"));
	LIBBPF_OPTS(bpf_test_run_opts, options);
	error = bpf_prog_test_run_opts(program, &options);
	if (error)
		return fail("cannot run the program", error);

	error = bpf_map_lookup_elem(map, &key, &bits);
	if (error)
		return fail("cannot read what the program shares", error);

	printf("%u bits of %#llx are set:", bits.found, (unsigned long long)bits.word);
	for (int bit = 0; bit < 64; bit++) {
		if (bits.is_set[bit])
			printf(" %d", bit);
		if (bits.is_set[bit] != (bits.word >> bit & 1)) {
			printf("\n");
			fprintf(stderr, "bits: the kernel is wrong about bit %d\n", bit);
			return EXIT_FAILURE;
		}
	}
	printf("\n");
	return EXIT_SUCCESS;
}
