/* Runs one of KleidiAI's products of 8-bit activations and 4-bit weights, both with a scale per 32, a number of times.
 * Compiled once per micro-kernel with -DKERNEL=its name; what the packed operands hold does not matter for counting.
 * usage: kleidiai_products ACTIVATION_ROWS TIMES; weights [128, 2048]. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOIN(a, b) a##b
#define RUN(kernel) JOIN(kai_run_, kernel)
void RUN(KERNEL)(size_t m, size_t n, size_t k, size_t bl, const void *lhs, const void *rhs, float *out, size_t row_stride,
                 size_t col_stride, float least, float most);

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    const size_t m = (size_t)atoi(argv[1]), n = 128, k = 2048;
    void *lhs = malloc((m + 4) * k * 2), *rhs = malloc(n * k);
    float *out = malloc(m * n * sizeof(float));
    memset(lhs, 0x2a, (m + 4) * k * 2);
    memset(rhs, 0x2a, n * k);
    for (int i = 0; i < atoi(argv[2]); ++i) RUN(KERNEL)(m, n, k, 32, lhs, rhs, out, n * sizeof(float), sizeof(float), -1e30f, 1e30f);
    printf("%g\n", (double)out[0]);
    free(lhs);
    free(rhs);
    free(out);
    return 0;
}
