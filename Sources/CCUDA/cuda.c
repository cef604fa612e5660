#include "vlm_cuda.h"
