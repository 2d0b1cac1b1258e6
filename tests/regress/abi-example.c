/* Generates text through quant.h. usage: abi-example MODEL.gguf PROMPT TOKENS */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant.h"

#define CHECK(call)                                                \
    do {                                                           \
        if ((call) != QUANT_OK) {                                  \
            fprintf(stderr, "abi-example: %s\n", quant_last_error()); \
            return 1;                                              \
        }                                                          \
    } while (0)

int main(int argc, char **argv) {
    quant_model *model = NULL;
    quant_session *session = NULL;
    quant_sampler *sampler = NULL;
    quant_model_info info;
    quant_sampler_options greedy;
    int32_t ids[512], id;
    size_t count, bytes;
    char text[256];
    const float *logits;
    int left;

    if (argc != 4) return 2;
    CHECK(quant_model_load(argv[1], 1, &model));
    CHECK(quant_model_get(model, &info));
    CHECK(quant_session_create(model, NULL, &session));
    quant_model_free(model); /* the session keeps what it needs; here it is loaded again for the tokenizer */
    CHECK(quant_model_load(argv[1], 1, &model));
    CHECK(quant_sampler_defaults(&greedy));
    greedy.temperature = 0;
    CHECK(quant_sampler_create(&greedy, &sampler));

    CHECK(quant_tokenize(model, argv[2], strlen(argv[2]), 1, 1, ids, 512, &count));
    if (count > 512) return 2;
    CHECK(quant_session_eval(session, ids, count, 0));
    printf("%s", argv[2]);
    for (left = atoi(argv[3]); left > 0; --left) {
        CHECK(quant_session_logits(session, 0, &logits));
        CHECK(quant_sampler_choose(sampler, logits, info.vocabulary, &id, NULL));
        if (quant_token_ends(model, id)) break;
        CHECK(quant_token_text(model, id, 0, text, sizeof text, &bytes));
        fwrite(text, 1, bytes, stdout);
        CHECK(quant_session_eval(session, &id, 1, 0));
    }
    printf("\n");
    quant_sampler_free(sampler);
    quant_session_free(session);
    quant_model_free(model);
    return 0;
}
